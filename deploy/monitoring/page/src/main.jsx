import { createTheme, locationUtil, standardTransformers, standardTransformersRegistry, ThemeContext } from "@grafana/data";
import { GlobalStyles, PortalContainer } from "@grafana/ui";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { Board } from "./board.jsx";
import { scrapeInterval } from "./prometheus.js";
import "./main.css";

const { filterFieldsByNameTransformer, mergeTransformer, organizeFieldsTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() =>
  [filterFieldsByNameTransformer, mergeTransformer, organizeFieldsTransformer].map((transformation) => ({ id: transformation.id, name: transformation.name, transformation })),
);
locationUtil.initialize({ config: { appSubUrl: "" }, getVariablesUrlParams: () => ({}), getTimeRangeForUrl: () => ({}) });
const theme = createTheme({ colors: { mode: "dark" } });

function Page() {
  const [loaded, setLoaded] = useState({});
  useEffect(() => {
    Promise.all([fetch("/dashboards").then((answer) => answer.json()), scrapeInterval()]).then(
      ([boards, scrapeMs]) => setLoaded({ boards, scrapeMs }),
      (error) => setLoaded({ error }),
    );
  }, []);
  if (loaded.error) return <p data-error>{loaded.error.message}</p>;
  if (!loaded.boards) return null;
  const uid = /^\/d\/([\w-]+)/.exec(location.pathname)?.[1] ?? "cowherd-overview";
  const board = loaded.boards.find((each) => each.uid === uid);
  if (!board) return <p data-error>no dashboard {uid}</p>;
  return <Board board={board} boards={loaded.boards} scrapeMs={loaded.scrapeMs} />;
}

createRoot(document.getElementById("page")).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <Page />
    <PortalContainer />
  </ThemeContext.Provider>,
);
