"""cc_grpc_library with upstream's call shape, over the installed protoc and grpc_cpp_plugin."""

def _grpc_codegen_impl(ctx):
    info = ctx.attr.proto[ProtoInfo]
    root = "_%s_codegen" % ctx.attr.name
    headers, sources = [], []
    for src in info.direct_sources:
        # The import path: what protoc names its outputs by.
        path = src.path
        if info.proto_source_root and info.proto_source_root != ".":
            path = path[len(info.proto_source_root) + 1:]
        stem = root + "/" + path[:-len(".proto")]
        headers.append(ctx.actions.declare_file(stem + ".grpc.pb.h"))
        sources.append(ctx.actions.declare_file(stem + ".grpc.pb.cc"))
        if ctx.attr.generate_mocks:
            headers.append(ctx.actions.declare_file(stem + "_mock.grpc.pb.h"))
    out_dir = headers[0].root.path
    for part in [ctx.label.workspace_root, ctx.label.package, root]:
        if part:
            out_dir += "/" + part
    args = ctx.actions.args()
    args.add_joined("--descriptor_set_in", info.transitive_descriptor_sets, join_with = ":")
    args.add("--plugin=protoc-gen-grpc=" + ctx.executable._plugin.path)
    args.add("--grpc_out=" + ("generate_mock_code=true:" if ctx.attr.generate_mocks else "") + out_dir)
    for src in info.direct_sources:
        path = src.path
        if info.proto_source_root and info.proto_source_root != ".":
            path = path[len(info.proto_source_root) + 1:]
        args.add(path)
    ctx.actions.run(
        executable = ctx.executable._protoc,
        arguments = [args],
        inputs = info.transitive_descriptor_sets,
        tools = [ctx.executable._plugin],
        outputs = headers + sources,
        mnemonic = "GrpcCodegen",
    )
    return [
        DefaultInfo(files = depset(headers + sources)),
        OutputGroupInfo(headers = depset(headers), sources = depset(sources)),
    ]

_grpc_codegen = rule(
    implementation = _grpc_codegen_impl,
    attrs = {
        "proto": attr.label(mandatory = True, providers = [ProtoInfo]),
        "generate_mocks": attr.bool(),
        "_protoc": attr.label(
            default = "@com_google_protobuf//:protoc",
            executable = True,
            allow_single_file = True,
            cfg = "exec",
        ),
        "_plugin": attr.label(
            default = "@com_google_protobuf//:grpc_cpp_plugin",
            executable = True,
            allow_single_file = True,
            cfg = "exec",
        ),
    },
)

def cc_grpc_library(name, srcs, deps, grpc_only = True, generate_mocks = False, **kwargs):
    """Service stubs of one proto_library.

    Args:
      name: of the cc_library made.
      srcs: exactly one proto_library.
      deps: its cc_proto_library.
      grpc_only: must be True: messages come from `deps`.
      generate_mocks: also make *_mock.grpc.pb.h.
      **kwargs: passed to the cc_library.
    """
    if len(srcs) != 1 or not grpc_only:
        fail("cc_grpc_library takes one proto_library and grpc_only = True")
    codegen = name + "_grpc"
    _grpc_codegen(name = codegen, proto = srcs[0], generate_mocks = generate_mocks, visibility = ["//visibility:private"])
    native.filegroup(name = codegen + "_hdrs", srcs = [codegen], output_group = "headers")
    native.filegroup(name = codegen + "_srcs", srcs = [codegen], output_group = "sources")
    native.cc_library(
        name = name,
        hdrs = [codegen + "_hdrs"],
        srcs = [codegen + "_srcs"],
        includes = ["_%s_codegen" % codegen],
        deps = deps + ["@com_github_grpc_grpc//:grpc++"],
        **kwargs
    )
