// Command apidoc is a protoc plugin that writes the API reference: one Markdown
// page with every RPC, its REST form and its fields, in the words of the
// protos' comments. `make generate` runs it through buf, which lints that no
// comment is missing.
package main

import (
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	protogen.Options{}.Run(func(p *protogen.Plugin) error {
		p.SupportedFeatures = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL)
		writeReference(p.NewGeneratedFile("api.md", ""), p.Files)
		return nil
	})
}
