#include "ops/lrn_max_pool.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void lrn_max_pool_fprop(uintptr_t x, uintptr_t y, uintptr_t argmax, int64_t images, int64_t height, int64_t width,
                        int64_t channels, int64_t groups, int64_t size, double k, double alpha, double beta,
                        int64_t pool_size, int64_t pool_stride, const std::string& dtype, uintptr_t stream) {
  LrnMaxPoolFpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.window = check_lrn_window(channels, groups, size, k, alpha, beta);
  params.shape = check_pool_shape(images, height, width, channels, pool_size, pool_stride, "pool_size", "pool_stride");
  const int64_t inputs = images * params.shape.input_elements(), outputs = images * params.shape.output_elements();
  const int bytes = dtype_bytes(params.dtype);
  params.x = check_pointer<const void>("x", x, inputs, bytes);
  params.y = check_pointer<void>("y", y, outputs, bytes);
  params.argmax = check_optional<uint8_t>("argmax", argmax, outputs, 1);
  check_disjoint("y", params.y, outputs * bytes, "x", params.x, inputs * bytes);
  launch_lrn_max_pool_fprop(params, to_stream(stream));
}

void lrn_max_pool_bprop(uintptr_t dy, uintptr_t argmax, uintptr_t x, uintptr_t dx, int64_t images, int64_t height,
                        int64_t width, int64_t channels, int64_t groups, int64_t size, double k, double alpha,
                        double beta, int64_t pool_size, int64_t pool_stride, const std::string& dtype, uintptr_t stream,
                        bool relu) {
  LrnMaxPoolBpropParams params{};
  params.relu = relu;
  params.dtype = parse_dtype(dtype);
  params.window = check_lrn_window(channels, groups, size, k, alpha, beta);
  params.shape = check_pool_shape(images, height, width, channels, pool_size, pool_stride, "pool_size", "pool_stride");
  const int64_t inputs = images * params.shape.input_elements(), outputs = images * params.shape.output_elements();
  const int bytes = dtype_bytes(params.dtype);
  params.dy = check_pointer<const void>("dy", dy, outputs, bytes);
  params.argmax = check_pointer<const uint8_t>("argmax", argmax, outputs, 1);
  params.x = check_pointer<const void>("x", x, inputs, bytes);
  params.dx = check_pointer<void>("dx", dx, inputs, bytes);
  check_disjoint("dx", params.dx, inputs * bytes, "dy", params.dy, outputs * bytes);
  check_disjoint("dx", params.dx, inputs * bytes, "x", params.x, inputs * bytes);
  launch_lrn_max_pool_bprop(params, to_stream(stream));
}

py::dict lrn_max_pool_choice(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t groups,
                             int64_t size, int64_t pool_size, int64_t pool_stride, const std::string& dtype,
                             bool aligned, int64_t multiprocessors, int64_t multiprocessor_bytes) {
  const LrnWindow window = check_lrn_window(channels, groups, size, 1.0, 0.0, 0.75);
  const PoolShape shape =
      check_pool_shape(images, height, width, channels, pool_size, pool_stride, "pool_size", "pool_stride");
  const LrnMaxPoolConfig config = lrn_max_pool_config({shape, window, dtype_bytes(parse_dtype(dtype)), aligned},
                                                      check_machine(multiprocessors, multiprocessor_bytes));
  py::dict result;
  result["vector"] = config.vector;
  result["block"] = config.block;
  result["rows"] = config.rows;
  result["columns"] = config.columns;
  result["packs"] = config.packs;
  result["shared_bytes"] = config.shared_bytes;
  result["grid"] = config.grid;
  return result;
}

}  // namespace

void bind_lrn_max_pool(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("lrn_max_pool_fprop", &lrn_max_pool_fprop, py::kw_only(), py::arg("x"), py::arg("y"), py::arg("argmax"),
             py::arg("images"), py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("groups"),
             py::arg("size"), py::arg("k"), py::arg("alpha"), py::arg("beta"), py::arg("pool_size"),
             py::arg("pool_stride"), py::arg("dtype"), py::arg("stream"), Unlocked(),
             "max_pool_fprop of lrn_fprop in one pass, bit for bit; argmax may be 0 for none wanted.");
  module.def("lrn_max_pool_bprop", &lrn_max_pool_bprop, py::kw_only(), py::arg("dy"), py::arg("argmax"), py::arg("x"),
             py::arg("dx"), py::arg("images"), py::arg("height"), py::arg("width"), py::arg("channels"),
             py::arg("groups"), py::arg("size"), py::arg("k"), py::arg("alpha"), py::arg("beta"), py::arg("pool_size"),
             py::arg("pool_stride"), py::arg("dtype"), py::arg("stream"), py::arg("relu") = false, Unlocked(),
             "lrn_bprop of max_pool_bprop in one pass; x is the input of lrn_max_pool_fprop, sizes are the input's.");
  module.def("lrn_max_pool_fprop_config", &lrn_max_pool_choice, py::kw_only(), py::arg("images"), py::arg("height"),
             py::arg("width"), py::arg("channels"), py::arg("groups"), py::arg("size"), py::arg("pool_size"),
             py::arg("pool_stride"), py::arg("dtype"), py::arg("aligned"),
             py::arg("multiprocessors") = kReferenceMachine.multiprocessors,
             py::arg("multiprocessor_bytes") = kReferenceMachine.shared_bytes,
             "Launch choice of lrn_max_pool_fprop: rows * columns outputs and packs * vector channels a block; the GPU "
             "is an H200 by default.");
}

}  // namespace alexnet::bindings
