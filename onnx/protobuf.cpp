// ONNX files, by the messages of Debian's libonnx_proto: the one file that sees protobuf.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>
#include <onnx/onnx_pb.h>

#include <bit>
#include <cstring>
#include <ctseg/io/file.hpp>
#include <ctseg/io/onnx.hpp>
#include <ctseg/version.hpp>
#include <exception>
#include <limits>

#include "graph.hpp"

namespace ctseg::onnx {
namespace {

namespace pb = ::onnx;
static_assert(std::endian::native == std::endian::little, "ctseg: ONNX files hold little-endian values");

constexpr Index kMostBytes = std::numeric_limits<std::int32_t>::max();   // of one protobuf message
constexpr std::size_t kMostAxes = 16;

Error bad(const std::string& where, const std::string& message) { return {Code::bad_input, where, message}; }

/// The product of extents, which must be that of values in memory.
Index count_of(const TensorData& t, const std::string& where) {
  if (t.dims.size() > kMostAxes)
    throw bad(where, text("tensor \"", t.name, "\" has ", t.dims.size(), " axes; must be at most ", kMostAxes, "."));
  Index count = 1;
  for (const Index e : t.dims) {
    if (e < 0 || (e > 0 && count > kMostBytes / e))
      throw bad(where, text("tensor \"", t.name, "\" has extents ", list(t.dims), "; must be 0 or more, and at most ",
                            kMostBytes, " values together."));
    count *= e;
  }
  return count;
}

template <class To, class From> std::string packed(const From& values) {
  std::string bytes(static_cast<std::size_t>(values.size()) * sizeof(To), '\0');
  std::size_t at = 0;
  for (const auto v : values) {
    const To value = static_cast<To>(v);
    std::memcpy(bytes.data() + sizeof(To) * at++, &value, sizeof(To));
  }
  return bytes;
}

/// Values that a tensor keeps in a list of its type instead of in raw bytes.
std::string listed_bytes(const pb::TensorProto& t, Element element) {
  switch (element) {
    case Element::f32:
      return packed<float>(t.float_data());
    case Element::f64:
      return packed<double>(t.double_data());
    case Element::i64:
      return packed<std::int64_t>(t.int64_data());
    case Element::i32:
      return packed<std::int32_t>(t.int32_data());
    case Element::boolean:
      return packed<std::uint8_t>(t.int32_data());
    default:
      return packed<std::uint16_t>(t.int32_data());
  }
}

TensorData read_tensor(pb::TensorProto& t, const std::string& where) {
  TensorData out{.name = t.name(), .element = static_cast<Element>(t.data_type()), .dims = {t.dims().begin(), t.dims().end()}};
  if (t.data_location() == pb::TensorProto::EXTERNAL || t.external_data_size() > 0)
    throw Error(Code::unsupported, where,
                text("tensor \"", t.name(),
                     "\" lies in another file (external data), which is not read. Hint: "
                     "onnx.save(model, path, save_as_external_data=False), or torch.onnx.export(..., external_data=False)."));
  const std::size_t size = size_of(out.element);
  if (t.has_segment() || size == 0)
    throw Error(Code::unsupported, where,
                text("tensor \"", t.name(), "\" has ", t.has_segment() ? "segments" : text("values of type ", t.data_type()),
                     "; read are float, double, float16, bfloat16, int32, int64 and bool."));
  const Index count = count_of(out, where);
  if (t.has_raw_data())
    out.bytes = std::move(*t.mutable_raw_data());
  else
    out.bytes = listed_bytes(t, out.element);
  if (out.bytes.size() != static_cast<std::size_t>(count) * size)
    throw bad(where, text("tensor \"", t.name(), "\" of extents ", list(out.dims), " has ", out.bytes.size(), " bytes, not ",
                          static_cast<std::size_t>(count) * size, ". Hint: the file is damaged; export it again."));
  return out;
}

AttributeValue read_attribute(pb::AttributeProto& a, const std::string& where) {
  switch (a.type()) {
    case pb::AttributeProto::INT:
      return Index{a.i()};
    case pb::AttributeProto::FLOAT:
      return a.f();
    case pb::AttributeProto::STRING:
      return a.s();
    case pb::AttributeProto::INTS:
      return std::vector<Index>(a.ints().begin(), a.ints().end());
    case pb::AttributeProto::FLOATS:
      return std::vector<float>(a.floats().begin(), a.floats().end());
    case pb::AttributeProto::TENSOR:
      return read_tensor(*a.mutable_t(), where);
    default:
      return std::monostate{};
  }
}

GraphNode read_node(pb::NodeProto& n, const std::string& where) {
  GraphNode out{.op = n.op_type(),
                .name = n.name(),
                .domain = n.domain() == "ai.onnx" ? "" : n.domain(),
                .inputs = {n.input().begin(), n.input().end()},
                .outputs = {n.output().begin(), n.output().end()}};
  for (auto& a : *n.mutable_attribute()) out.attributes[a.name()] = read_attribute(a, where);
  return out;
}

GraphValue read_value(const pb::ValueInfoProto& v) {
  const auto& type = v.type().tensor_type();
  GraphValue out{.name = v.name(), .element = static_cast<Element>(type.elem_type())};
  if (!v.type().has_tensor_type()) out.element = Element::none;
  for (const auto& d : type.shape().dim()) {
    out.dims.push_back(d.has_dim_value() ? d.dim_value() : 0);
    out.axis_names.push_back(d.dim_param());
  }
  return out;
}

using Input = google::protobuf::io::CodedInputStream;
using Wire = google::protobuf::internal::WireFormatLite;

/// Walks over a message as protobuf will, and counts its strings and messages before protobuf makes them: an empty one has two
/// bytes in the file and a few hundred in memory. False where the bytes are no such message.
bool count_parts(Input& in, const google::protobuf::Descriptor& type, Index& left, int depth) {
  while (const std::uint32_t tag = in.ReadTag()) {
    if (Wire::GetTagWireType(tag) == Wire::WIRETYPE_START_GROUP) return false;   // ONNX has none
    if (Wire::GetTagWireType(tag) != Wire::WIRETYPE_LENGTH_DELIMITED) {
      if (!Wire::SkipField(&in, tag)) return false;
      continue;
    }
    std::uint32_t size = 0;
    if (!in.ReadVarint32(&size) || size > static_cast<std::uint32_t>(kMostBytes) || --left < 0) return false;
    const auto* field = type.FindFieldByNumber(Wire::GetTagFieldNumber(tag));
    if (field && field->message_type()) {
      const auto outer = in.PushLimit(static_cast<int>(size));
      if (depth == 0 || !count_parts(in, *field->message_type(), left, depth - 1) || !in.ConsumedEntireMessage()) return false;
      in.PopLimit(outer);
    } else if (!in.Skip(static_cast<int>(size))) {
      return false;
    }
  }
  return true;
}

pb::ModelProto parse(const std::filesystem::path& path, Index max_bytes) {
  constexpr Index kMostParts = Index{1} << 20;   // about 500 MB
  constexpr int kDepth = 32;
  const auto bytes = io::read_file(path, {.max_bytes = std::min(max_bytes, kMostBytes)});
  const auto stream = [&] {
    return Input(reinterpret_cast<const std::uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  };
  Input first = stream(), second = stream();
  Index left = kMostParts;
  const bool sane = count_parts(first, *pb::ModelProto::descriptor(), left, kDepth);
  if (left < 0) throw bad(path.string(), text("has more than ", kMostParts, " strings and messages; networks have far fewer."));
  pb::ModelProto model;
  if (!sane || !model.ParsePartialFromCodedStream(&second) || !second.ConsumedEntireMessage() || !model.has_graph())
    throw bad(path.string(), text("holds no ONNX model in its ", bytes.size(),
                                  " bytes. Hint: it is truncated, damaged or another kind of file."));
  return model;
}

std::map<std::string, std::string> metadata_of(const pb::ModelProto& model) {
  std::map<std::string, std::string> out;
  for (const auto& entry : model.metadata_props()) out[entry.key()] = entry.value();
  return out;
}

void write_tensor(TensorData& t, pb::TensorProto& out) {
  out.set_name(t.name);
  out.set_data_type(static_cast<int>(t.element));
  for (const Index e : t.dims) out.add_dims(e);
  out.set_raw_data(std::move(t.bytes));
}

void write_attribute(const std::string& name, AttributeValue& value, pb::AttributeProto& out) {
  out.set_name(name);
  if (const auto* i = std::get_if<Index>(&value)) {
    out.set_type(pb::AttributeProto::INT);
    out.set_i(*i);
  } else if (const auto* f = std::get_if<float>(&value)) {
    out.set_type(pb::AttributeProto::FLOAT);
    out.set_f(*f);
  } else if (const auto* s = std::get_if<std::string>(&value)) {
    out.set_type(pb::AttributeProto::STRING);
    out.set_s(*s);
  } else if (const auto* all = std::get_if<std::vector<Index>>(&value)) {
    out.set_type(pb::AttributeProto::INTS);
    for (const Index v : *all) out.add_ints(v);
  }
}

void write_value(const GraphValue& v, pb::ValueInfoProto& out) {
  out.set_name(v.name);
  auto& type = *out.mutable_type()->mutable_tensor_type();
  type.set_elem_type(static_cast<int>(v.element));
  for (std::size_t d = 0; d < v.dims.size(); ++d) {
    auto& dim = *type.mutable_shape()->add_dim();
    if (v.dims[d] > 0)
      dim.set_dim_value(v.dims[d]);
    else if (!v.axis_names[d].empty())
      dim.set_dim_param(v.axis_names[d]);
  }
}

/// Passes what protobuf makes to the file, piece by piece: no second copy of the weights.
class FileStream final : public google::protobuf::io::CopyingOutputStream {
 public:
  explicit FileStream(io::OutputFile& file) : file_(file) {}
  bool Write(const void* buffer, int size) override {
    try {   // an exception must not pass through protobuf, whose destructors come back here
      if (!error_) file_.write({static_cast<const std::byte*>(buffer), static_cast<std::size_t>(size)});
    } catch (...) {
      error_ = std::current_exception();
    }
    return !error_;
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  io::OutputFile& file_;
  std::exception_ptr error_;
};

}   // namespace

Graph read_graph(const std::filesystem::path& path, Index max_bytes) {
  const std::string where = path.string();
  pb::ModelProto model = parse(path, max_bytes);
  pb::GraphProto& g = *model.mutable_graph();
  Graph out{.name = g.name()};
  for (const auto& set : model.opset_import())
    if (set.domain().empty() || set.domain() == "ai.onnx") out.opset = set.version();
  if (g.sparse_initializer_size() > 0)
    throw Error(Code::unsupported, where, "has sparse tensors, which are not read. Hint: export dense weights.");
  for (auto& n : *g.mutable_node()) out.nodes.push_back(read_node(n, where));
  for (auto& t : *g.mutable_initializer()) out.tensors.push_back(read_tensor(t, where));
  for (const auto& v : g.input()) out.inputs.push_back(read_value(v));
  for (const auto& v : g.output()) out.outputs.push_back(read_value(v));
  out.metadata = metadata_of(model);
  return out;
}

std::map<std::string, std::string> read_metadata(const std::filesystem::path& path, const ImportOptions& options) {
  return metadata_of(parse(path, options.max_bytes));
}

void write_graph(const std::filesystem::path& path, Graph graph) {
  pb::ModelProto model;
  model.set_ir_version(8);
  model.set_producer_name("ctseg");
  model.set_producer_version(kVersion);
  auto& opset = *model.add_opset_import();
  opset.set_domain("");
  opset.set_version(graph.opset);
  for (const auto& [key, value] : graph.metadata) {
    auto& entry = *model.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  pb::GraphProto& out = *model.mutable_graph();
  out.set_name(graph.name);
  Index bytes = 0;
  for (const TensorData& t : graph.tensors) bytes += static_cast<Index>(t.bytes.size());
  if (bytes > kMostBytes)   // before protobuf counts in 32 bits
    throw Error(Code::unsupported, path.string(),
                text("would hold ", bytes, " bytes of weights; an ONNX file has at most ", kMostBytes,
                     ". Hint: io::save_weights has no limit."));
  for (GraphNode& n : graph.nodes) {
    auto& node = *out.add_node();
    node.set_op_type(n.op);
    node.set_name(n.name);
    for (const auto& i : n.inputs) node.add_input(i);
    for (const auto& o : n.outputs) node.add_output(o);
    for (auto& [name, value] : n.attributes) write_attribute(name, value, *node.add_attribute());
  }
  for (TensorData& t : graph.tensors) write_tensor(t, *out.add_initializer());
  for (const GraphValue& v : graph.inputs) write_value(v, *out.add_input());
  for (const GraphValue& v : graph.outputs) write_value(v, *out.add_output());

  if (model.ByteSizeLong() > static_cast<std::size_t>(kMostBytes))
    throw Error(Code::unsupported, path.string(),
                text("would have ", model.ByteSizeLong(), " bytes; an ONNX file has at most ", kMostBytes,
                     ". Hint: io::save_weights has no limit."));
  io::OutputFile file(path);
  FileStream pieces(file);
  {
    google::protobuf::io::CopyingOutputStreamAdaptor stream(&pieces);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    model.SerializePartialToCodedStream(&coded);
  }
  pieces.rethrow();
  file.commit();
}

}   // namespace ctseg::onnx
