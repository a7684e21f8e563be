#include "ops/avg_pool.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

CountedPadding check_counted(const PoolOptions& pool) {
  for (const Pair& axis : pool.counted) {
    for (const int64_t padding : axis) check_size("pool.counted", padding, 0, pool.size - 1);
  }
  const auto narrow = [&pool](int axis, int end) { return static_cast<int>(pool.counted[axis][end]); };
  return {narrow(0, 0), narrow(0, 1), narrow(1, 0), narrow(1, 1)};
}

void avg_pool_fprop(const Tensor& x, const Tensor& y, const PoolOptions& pool, uintptr_t stream) {
  AvgPoolFpropParams params{};
  params.dtype = x.floating();
  params.shape = check_pool(check_images(x), pool);
  params.counted = check_counted(pool);
  params.x = x.data<const void>();
  params.y = y.of_dtype(x.dtype.c_str()).of_shape(output_extents(params.shape)).data<void>();
  check_disjoint(y, x);
  launch_avg_pool_fprop(params, to_stream(stream));
}

void avg_pool_bprop(const Tensor& dy, const Tensor& dx, const PoolOptions& pool, uintptr_t stream) {
  AvgPoolBpropParams params{};
  params.dtype = dx.floating();
  params.shape = check_pool(check_images(dx), pool);
  params.counted = check_counted(pool);
  params.dy = dy.of_dtype(dx.dtype.c_str()).of_shape(output_extents(params.shape)).data<const void>();
  params.dx = dx.data<void>();
  check_disjoint(dx, dy);
  launch_avg_pool_bprop(params, to_stream(stream));
}

}  // namespace

void bind_avg_pool(py::module_& module) {
  bind_launch(module, "avg_pool_fprop", &avg_pool_fprop,
              "y = means over windows, of the pixels in x and in counted padding.", "x"_a, "y"_a, "pool"_a);
  bind_launch(module, "avg_pool_bprop", &avg_pool_bprop,
              "dx = sum of dy over the windows that cover the element, each over the pixels that its mean counts.",
              "dy"_a, "dx"_a, "pool"_a);
}

}  // namespace alexnet::bindings
