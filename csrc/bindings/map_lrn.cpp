#include "ops/map_lrn.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

MapLrnShape check_map_lrn(const Images& x, const LrnOptions& given) {
  // Of the window across channels only its size, its numbers and their checks are taken.
  const LrnWindow window = check_lrn_window(x.channels, given);
  check_size("size", given.size, 1, kMapLrnMaxSize);
  return {x.images,
          static_cast<int>(x.height),
          static_cast<int>(x.width),
          static_cast<int>(x.channels),
          window.size,
          window.k,
          window.alpha,
          window.beta};
}

void map_lrn_fprop(const LrnOptions& window, const Tensor& x, const Tensor& y, uintptr_t stream) {
  MapLrnFpropParams params{};
  params.dtype = x.floating();
  params.shape = check_map_lrn(check_images(x), window);
  params.x = x.data<const void>();
  params.y = y.like(x).data<void>();
  check_disjoint(y, x);
  launch_map_lrn_fprop(params, to_stream(stream));
}

void map_lrn_bprop(const LrnOptions& window, const Tensor& dy, const Tensor& x, const Tensor& dx, uintptr_t stream) {
  MapLrnBpropParams params{};
  params.dtype = x.floating();
  params.shape = check_map_lrn(check_images(x), window);
  params.dy = dy.like(x).data<const void>();
  params.x = x.data<const void>();
  params.dx = dx.like(x).data<void>();
  check_disjoint(dx, dy);
  check_disjoint(dx, x);
  launch_map_lrn_bprop(params, to_stream(stream));
}

using ChooseMapLrn = MapLrnConfig (*)(const MapLrnProblem&);

template <ChooseMapLrn choose>
py::dict map_lrn_choice(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t size,
                        const std::string& dtype, bool aligned) {
  const MapLrnShape shape = check_map_lrn(check_images({images, height, width, channels}), {1, size});
  const MapLrnConfig config = choose({shape, dtype_bytes(parse_dtype(dtype)), aligned});
  py::dict result = describe_choice(config.vector, config.row);
  result["shared_bytes"] = config.shared_bytes;
  return result;
}

}  // namespace

void bind_map_lrn(py::module_& module) {
  bind_launch(module, "map_lrn_fprop", &map_lrn_fprop,
              "y = x * (k + alpha * sum of x^2)^-beta over `size` x `size` positions of a map; y may not overlap x.",
              "window"_a, "x"_a, "y"_a);
  bind_launch(module, "map_lrn_bprop", &map_lrn_bprop,
              "dx from dy and the input x of map_lrn_fprop; dx may overlap neither.", "window"_a, "dy"_a, "x"_a,
              "dx"_a);
  const auto bind_choice = [&](const char* name, auto choose, const char* doc) {
    module.def(name, choose, py::kw_only(), "images"_a, "height"_a, "width"_a, "channels"_a, "size"_a, "dtype"_a,
               "aligned"_a, doc);
  };
  bind_choice("map_lrn_fprop_config", &map_lrn_choice<&map_lrn_fprop_config>,
              "Launch choice of map_lrn_fprop; aligned: every pointer is a multiple of 16 bytes.");
  bind_choice("map_lrn_bprop_config", &map_lrn_choice<&map_lrn_bprop_config>,
              "Launch choice of map_lrn_bprop; aligned: every pointer is a multiple of 16 bytes.");
}

}  // namespace alexnet::bindings
