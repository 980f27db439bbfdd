package main

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// lines is a printer that ends each call with a newline, as protogen does.
type lines struct{ strings.Builder }

func (l *lines) P(v ...any) {
	for _, x := range v {
		fmt.Fprint(l, x)
	}
	l.WriteByte('\n')
}

// file is x/v1/x.proto: a service with one RPC of each kind that the page
// tells apart.
func file() *descriptorpb.FileDescriptorProto {
	field := func(name string, n int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), Number: proto.Int32(n), Type: kind.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	items := field("all_items", 1, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
	items.TypeName, items.Label = proto.String(".x.v1.Item"), descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	method := func(name string, rule *annotations.HttpRule) *descriptorpb.MethodDescriptorProto {
		m := &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), InputType: proto.String(".x.v1.Request"), OutputType: proto.String(".x.v1.Response"),
		}
		if rule != nil {
			m.Options = &descriptorpb.MethodOptions{}
			proto.SetExtension(m.Options, annotations.E_Http, rule)
		}
		return m
	}
	watch := method("Watch", nil)
	watch.ServerStreaming = proto.Bool(true)
	comment := func(text string, path ...int32) *descriptorpb.SourceCodeInfo_Location {
		return &descriptorpb.SourceCodeInfo_Location{Path: path, Span: []int32{0, 0, 0}, LeadingComments: &text}
	}
	return &descriptorpb.FileDescriptorProto{
		Name: proto.String("x/v1/x.proto"), Package: proto.String("x.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/api/annotations.proto"},
		Options:    &descriptorpb.FileOptions{GoPackage: proto.String("example.org/x;x")},
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Request"), Field: []*descriptorpb.FieldDescriptorProto{
				field("item_id", 1, descriptorpb.FieldDescriptorProto_TYPE_INT64),
				field("raw", 2, descriptorpb.FieldDescriptorProto_TYPE_BYTES),
			}},
			{Name: proto.String("Response"), Field: []*descriptorpb.FieldDescriptorProto{items}},
			{Name: proto.String("Item"), Field: []*descriptorpb.FieldDescriptorProto{
				field("name", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING),
			}},
		},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Things"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Get", &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: "/v1/items/{item_id}"}}),
			method("Put", &annotations.HttpRule{Pattern: &annotations.HttpRule_Put{Put: "/v1/items"}, Body: "raw"}),
			watch,
		}}},
		SourceCodeInfo: &descriptorpb.SourceCodeInfo{Location: []*descriptorpb.SourceCodeInfo_Location{
			comment(" Get gets <one> item,\n once.\n\n Twice is\n twice.\n", 6, 0, 2, 0),
			comment(" Either <a>|`<b>`\n or nothing.\n", 4, 0, 2, 0),
			comment(" Item is a thing.\n", 4, 2),
		}},
	}
}

func TestReference(t *testing.T) {
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{"x/v1/x.proto"},
		ProtoFile: []*descriptorpb.FileDescriptorProto{
			protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto),
			protodesc.ToFileDescriptorProto(annotations.File_google_api_http_proto),
			protodesc.ToFileDescriptorProto(annotations.File_google_api_annotations_proto),
			file(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out lines
	writeReference(&out, plugin.Files)
	page := out.String()
	for _, want := range []string{
		"| [Get](#get) | `GET /v1/items/{item_id}` |\n",
		"| [Watch](#watch) | none |\n",
		"REST: `PUT /v1/items`<br>\ngRPC: `x.v1.Things.Put`\n",
		"gRPC: `x.v1.Things.Watch`, streams responses\n",
		"Get gets &lt;one&gt; item,\nonce.\n\nTwice is\ntwice.\n",
		"| `item_id` | path | int64 | Either &lt;a&gt;\\|`<b>` or nothing. |\n| `raw` | query | bytes |",     // Get
		"| `item_id` | query | int64 | Either &lt;a&gt;\\|`<b>` or nothing. |\n| `raw` | the body | bytes |", // Put
		"| `item_id` | gRPC | int64 |",                                                                       // Watch
		"| `allItems` | list of [Item](#item) |",
		"## Messages\n\n### Item\n\nItem is a thing.\n\n| field | type | |\n| --- | --- | --- |\n| `name` | string |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, not := range []string{"### Request", "### Response", "google.api"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}
