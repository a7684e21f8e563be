#include "ops/avg_pool.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void avg_pool_fprop(uintptr_t x, uintptr_t y, int64_t images, int64_t height, int64_t width, int64_t channels,
                    int64_t size, int64_t stride, const std::string& dtype, uintptr_t stream) {
  AvgPoolFpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.shape = check_pool_shape(images, height, width, channels, size, stride);
  const int64_t inputs = images * params.shape.input_elements(), outputs = images * params.shape.output_elements();
  const int bytes = dtype_bytes(params.dtype);
  params.x = check_pointer<const void>("x", x, inputs, bytes);
  params.y = check_pointer<void>("y", y, outputs, bytes);
  check_disjoint("y", params.y, outputs * bytes, "x", params.x, inputs * bytes);
  launch_avg_pool_fprop(params, to_stream(stream));
}

void avg_pool_bprop(uintptr_t dy, uintptr_t dx, int64_t images, int64_t height, int64_t width, int64_t channels,
                    int64_t size, int64_t stride, const std::string& dtype, uintptr_t stream) {
  AvgPoolBpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.shape = check_pool_shape(images, height, width, channels, size, stride);
  const int64_t inputs = images * params.shape.input_elements(), outputs = images * params.shape.output_elements();
  const int bytes = dtype_bytes(params.dtype);
  params.dy = check_pointer<const void>("dy", dy, outputs, bytes);
  params.dx = check_pointer<void>("dx", dx, inputs, bytes);
  check_disjoint("dx", params.dx, inputs * bytes, "dy", params.dy, outputs * bytes);
  launch_avg_pool_bprop(params, to_stream(stream));
}

}  // namespace

void bind_avg_pool(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("avg_pool_fprop", &avg_pool_fprop, py::kw_only(), py::arg("x"), py::arg("y"), py::arg("images"),
             py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("size"), py::arg("stride"),
             py::arg("dtype"), py::arg("stream"), Unlocked(), "y = means over windows.");
  module.def("avg_pool_bprop", &avg_pool_bprop, py::kw_only(), py::arg("dy"), py::arg("dx"), py::arg("images"),
             py::arg("height"), py::arg("width"), py::arg("channels"), py::arg("size"), py::arg("stride"),
             py::arg("dtype"), py::arg("stream"), Unlocked(),
             "dx = sum of dy / size^2 over the windows that cover the element; sizes are those of the input.");
}

}  // namespace alexnet::bindings
