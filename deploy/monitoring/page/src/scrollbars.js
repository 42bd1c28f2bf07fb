// @grafana/ui takes the default of this CommonJS package, which for an importer that is a module is all of it.
export { Scrollbars, Scrollbars as default } from "../node_modules/react-custom-scrollbars-2/lib/index.js";
