"""Where every external label comes from: Debian bookworm's own packages, offline.

The labels are the ones the projects use upstream, so that building from source instead changes this file only.
Headers come from the compiler's own include path; each target states what to link and what it stands on.
"""

USR = "/usr"

def _debian_jar_impl(ctx):
    ctx.extract(ctx.attr.jar)
    ctx.symlink(ctx.attr.build_file, "BUILD.bazel")

debian_jar = repository_rule(
    implementation = _debian_jar_impl,
    local = True,
    attrs = {
        "jar": attr.string(mandatory = True),
        "build_file": attr.label(allow_single_file = True, mandatory = True),
    },
)

def system_deps():
    """Declares every external repository."""
    for name in [
        "com_github_cliutils_cli11",
        "com_github_google_benchmark",
        "com_github_grpc_grpc",
        "com_github_jupp0r_prometheus_cpp",
        "com_google_absl",
        "com_google_googletest",
        "nlohmann_json",
        "openssl",
        "org_sqlite",
        "remote_coverage_tools",
        "rules_cc",
        "spdlog",
        "xxhash",
    ]:
        native.local_repository(name = name, path = "bazel/deps/" + name)
    native.local_repository(name = "rules_java", path = USR + "/share/bazel/rules/java")
    native.local_repository(name = "rules_proto", path = USR + "/share/bazel/rules/proto")
    native.new_local_repository(
        name = "com_google_protobuf",
        path = USR,
        build_file = "//bazel/deps:com_google_protobuf.BUILD",
    )
    native.new_local_repository(
        name = "grpc_proto",
        path = USR + "/share/grpc-proto",
        build_file = "//bazel/deps:grpc_proto.BUILD",
    )
    debian_jar(
        name = "com_google_googleapis",
        jar = USR + "/share/java/proto-google-common-protos.jar",
        build_file = "//bazel/deps:com_google_googleapis.BUILD",
    )
