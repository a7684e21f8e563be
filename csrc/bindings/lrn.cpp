#include "ops/lrn.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

void lrn_fprop(const LrnOptions& window, const Tensor& x, const Tensor& y, uintptr_t stream) {
  const Images images = check_images(x);
  LrnFpropParams params{};
  params.dtype = x.floating();
  params.window = check_lrn_window(images.channels, window);
  params.images = images.images;
  params.pixels = images.pixels();
  params.x = x.data<const void>();
  params.y = y.like(x).data<void>();
  check_disjoint(y, x);
  launch_lrn_fprop(params, to_stream(stream));
}

void lrn_bprop(const LrnOptions& window, const Tensor& dy, const Tensor& x, const Tensor& dx, bool relu,
               uintptr_t stream) {
  const Images images = check_images(x);
  LrnBpropParams params{};
  params.dtype = x.floating();
  params.window = check_lrn_window(images.channels, window);
  params.images = images.images;
  params.pixels = images.pixels();
  params.relu = relu;
  params.dy = dy.like(x).data<const void>();
  params.x = x.data<const void>();
  params.dx = dx.like(x).data<void>();
  check_disjoint(dx, dy);
  check_disjoint(dx, x);
  launch_lrn_bprop(params, to_stream(stream));
}

using ChooseLrn = LrnConfig (*)(const LrnProblem&);

template <ChooseLrn choose>
py::dict lrn_choice(int64_t images, int64_t pixels, int64_t channels, int64_t groups, int64_t size,
                    const std::string& dtype, bool aligned) {
  const LrnWindow window = check_lrn_window(channels, {groups, size});
  check_images({images, pixels, 1, channels});
  const LrnConfig config = choose({images, pixels, window, dtype_bytes(parse_dtype(dtype)), aligned});
  py::dict result = describe_choice(config.vector, config.row);
  result["shared_bytes"] = config.shared_bytes;
  return result;
}

}  // namespace

void bind_lrn(py::module_& module) {
  bind_launch(module, "lrn_fprop", &lrn_fprop,
              "y = x * (k + alpha * sum of x^2)^-beta over `size` channels of a group; y may not overlap x.",
              "window"_a, "x"_a, "y"_a);
  bind_launch(
      module, "lrn_bprop", &lrn_bprop,
      "dx from dy and the input x of lrn_fprop; dx may overlap neither. relu: x is the output of a ReLU, and dx "
      "is 0 where x is not positive.",
      "window"_a, "dy"_a, "x"_a, "dx"_a, "relu"_a);
  const auto bind_choice = [&](const char* name, auto choose, const char* doc) {
    module.def(name, choose, py::kw_only(), "images"_a, "pixels"_a, "channels"_a, "groups"_a, "size"_a, "dtype"_a,
               "aligned"_a, doc);
  };
  bind_choice("lrn_fprop_config", &lrn_choice<&lrn_fprop_config>,
              "Launch choice of lrn_fprop; aligned: every pointer is a multiple of 16 bytes.");
  bind_choice("lrn_bprop_config", &lrn_choice<&lrn_bprop_config>,
              "Launch choice of lrn_bprop and lrn_max_pool_bprop; aligned: every pointer is a multiple of 16 bytes.");
}

}  // namespace alexnet::bindings
