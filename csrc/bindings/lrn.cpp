#include "ops/lrn.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void lrn_fprop(uintptr_t x, uintptr_t y, int64_t images, int64_t pixels, int64_t channels, int64_t groups, int64_t size,
               double k, double alpha, double beta, const std::string& dtype, uintptr_t stream) {
  LrnFpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.window = check_lrn_window(channels, groups, size, k, alpha, beta);
  const int64_t count = check_batch("images", images, check_image({{"pixels", pixels}, {"channels", channels}}));
  params.images = images;
  params.pixels = pixels;
  const int bytes = dtype_bytes(params.dtype);
  params.x = check_pointer<const void>("x", x, count, bytes);
  params.y = check_pointer<void>("y", y, count, bytes);
  check_disjoint("y", params.y, count * bytes, "x", params.x, count * bytes);
  launch_lrn_fprop(params, to_stream(stream));
}

void lrn_bprop(uintptr_t dy, uintptr_t x, uintptr_t dx, int64_t images, int64_t pixels, int64_t channels,
               int64_t groups, int64_t size, double k, double alpha, double beta, const std::string& dtype,
               uintptr_t stream, bool relu) {
  LrnBpropParams params{};
  params.relu = relu;
  params.dtype = parse_dtype(dtype);
  params.window = check_lrn_window(channels, groups, size, k, alpha, beta);
  const int64_t count = check_batch("images", images, check_image({{"pixels", pixels}, {"channels", channels}}));
  params.images = images;
  params.pixels = pixels;
  const int bytes = dtype_bytes(params.dtype);
  params.dy = check_pointer<const void>("dy", dy, count, bytes);
  params.x = check_pointer<const void>("x", x, count, bytes);
  params.dx = check_pointer<void>("dx", dx, count, bytes);
  check_disjoint("dx", params.dx, count * bytes, "dy", params.dy, count * bytes);
  check_disjoint("dx", params.dx, count * bytes, "x", params.x, count * bytes);
  launch_lrn_bprop(params, to_stream(stream));
}

using ChooseLrn = LrnConfig (*)(const LrnProblem&);

template <ChooseLrn choose>
py::dict lrn_choice(int64_t images, int64_t pixels, int64_t channels, int64_t groups, int64_t size,
                    const std::string& dtype, bool aligned) {
  const LrnWindow window = check_lrn_window(channels, groups, size, 1.0, 0.0, 0.75);
  check_batch("images", images, check_image({{"pixels", pixels}, {"channels", channels}}));
  const LrnConfig config = choose({images, pixels, window, dtype_bytes(parse_dtype(dtype)), aligned});
  py::dict result;
  result["vector"] = config.vector;
  result["block"] = config.row.block;
  result["blocks_per_image"] = config.row.blocks_per_row;
  result["grid"] = config.row.grid;
  result["shared_bytes"] = config.shared_bytes;
  return result;
}

}  // namespace

void bind_lrn(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("lrn_fprop", &lrn_fprop, py::kw_only(), py::arg("x"), py::arg("y"), py::arg("images"), py::arg("pixels"),
             py::arg("channels"), py::arg("groups"), py::arg("size"), py::arg("k"), py::arg("alpha"), py::arg("beta"),
             py::arg("dtype"), py::arg("stream"), Unlocked(),
             "y = x * (k + alpha * sum of x^2)^-beta over `size` channels of a group; y may not overlap x.");
  module.def(
      "lrn_bprop", &lrn_bprop, py::kw_only(), py::arg("dy"), py::arg("x"), py::arg("dx"), py::arg("images"),
      py::arg("pixels"), py::arg("channels"), py::arg("groups"), py::arg("size"), py::arg("k"), py::arg("alpha"),
      py::arg("beta"), py::arg("dtype"), py::arg("stream"), py::arg("relu") = false, Unlocked(),
      "dx from dy and the input x of lrn_fprop; dx may overlap neither. relu: x is the output of a ReLU, and dx is "
      "0 where x is not positive.");
  module.def("lrn_fprop_config", &lrn_choice<&lrn_fprop_config>, py::kw_only(), py::arg("images"), py::arg("pixels"),
             py::arg("channels"), py::arg("groups"), py::arg("size"), py::arg("dtype"), py::arg("aligned"),
             "Launch choice of lrn_fprop; aligned: every pointer is a multiple of 16 bytes.");
  module.def("lrn_bprop_config", &lrn_choice<&lrn_bprop_config>, py::kw_only(), py::arg("images"), py::arg("pixels"),
             py::arg("channels"), py::arg("groups"), py::arg("size"), py::arg("dtype"), py::arg("aligned"),
             "Launch choice of lrn_bprop and lrn_max_pool_bprop; aligned: every pointer is a multiple of 16 bytes.");
}

}  // namespace alexnet::bindings
