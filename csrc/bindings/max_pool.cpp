#include "ops/max_pool.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void max_pool_fprop(uintptr_t x, uintptr_t y, uintptr_t argmax, int64_t images, int64_t height, int64_t width,
                    int64_t channels, int64_t size, int64_t stride, const std::string& dtype, uintptr_t stream) {
  MaxPoolFpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.shape = check_pool_shape(images, height, width, channels, size, stride);
  const int64_t inputs = images * params.shape.input_elements(), outputs = images * params.shape.output_elements();
  const int bytes = dtype_bytes(params.dtype);
  params.x = check_pointer<const void>("x", x, inputs, bytes);
  params.y = check_pointer<void>("y", y, outputs, bytes);
  params.argmax = check_optional<uint8_t>("argmax", argmax, outputs, 1);
  check_disjoint("y", params.y, outputs * bytes, "x", params.x, inputs * bytes);
  launch_max_pool_fprop(params, to_stream(stream));
}

void max_pool_bprop(uintptr_t dy, uintptr_t argmax, uintptr_t dx, int64_t images, int64_t height, int64_t width,
                    int64_t channels, int64_t size, int64_t stride, const std::string& dtype, uintptr_t stream,
                    uintptr_t y) {
  MaxPoolBpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.shape = check_pool_shape(images, height, width, channels, size, stride);
  const int64_t inputs = images * params.shape.input_elements(), outputs = images * params.shape.output_elements();
  const int bytes = dtype_bytes(params.dtype);
  params.dy = check_pointer<const void>("dy", dy, outputs, bytes);
  params.argmax = check_pointer<const uint8_t>("argmax", argmax, outputs, 1);
  params.y = check_optional<const void>("y", y, outputs, bytes);
  params.dx = check_pointer<void>("dx", dx, inputs, bytes);
  check_disjoint("dx", params.dx, inputs * bytes, "dy", params.dy, outputs * bytes);
  check_disjoint("dx", params.dx, inputs * bytes, "y", params.y, y == 0 ? 0 : outputs * bytes);
  launch_max_pool_bprop(params, to_stream(stream));
}

using ChoosePool = PoolConfig (*)(const PoolProblem&);

template <ChoosePool choose>
py::dict pool_choice(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t size, int64_t stride,
                     const std::string& dtype, bool aligned) {
  const PoolShape shape = check_pool_shape(images, height, width, channels, size, stride);
  const PoolConfig config = choose({shape, dtype_bytes(parse_dtype(dtype)), aligned});
  py::dict result;
  result["vector"] = config.vector;
  result["block"] = config.row.block;
  result["blocks_per_image"] = config.row.blocks_per_row;
  result["grid"] = config.row.grid;
  return result;
}

}  // namespace

void bind_max_pool(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("max_pool_fprop", &max_pool_fprop, py::kw_only(), py::arg("x"), py::arg("y"), py::arg("argmax"),
             py::arg("images"), py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("size"),
             py::arg("stride"), py::arg("dtype"), py::arg("stream"), Unlocked(),
             "y = maxima over windows; argmax = row * size + column of the first in its window, or 0 for none wanted.");
  module.def(
      "max_pool_bprop", &max_pool_bprop, py::kw_only(), py::arg("dy"), py::arg("argmax"), py::arg("dx"),
      py::arg("images"), py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("size"), py::arg("stride"),
      py::arg("dtype"), py::arg("stream"), py::arg("y") = 0, Unlocked(),
      "dx = sum of dy over the windows whose maximum the element was; sizes are those of the input. y: the pool's "
      "output; a window where it is not positive passes nothing (a ReLU before the pool); 0 for all pass.");
  module.def("max_pool_fprop_config", &pool_choice<&pool_fprop_config>, py::kw_only(), py::arg("images"),
             py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("size"), py::arg("stride"),
             py::arg("dtype"), py::arg("aligned"),
             "Launch choice of max_pool_fprop and avg_pool_fprop; aligned: every pointer is a multiple of 16 bytes.");
  module.def("max_pool_bprop_config", &pool_choice<&pool_bprop_config>, py::kw_only(), py::arg("images"),
             py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("size"), py::arg("stride"),
             py::arg("dtype"), py::arg("aligned"),
             "Launch choice of max_pool_bprop and avg_pool_bprop; aligned: every pointer is a multiple of 16 bytes.");
}

}  // namespace alexnet::bindings
