#include "ops/avg_pool.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

void avg_pool_fprop(const Tensor& x, const Tensor& y, int64_t pool_size, int64_t pool_stride, uintptr_t stream) {
  AvgPoolFpropParams params{};
  params.dtype = x.floating();
  params.shape = check_pool(check_images(x), pool_size, pool_stride);
  params.x = x.data<const void>();
  params.y = y.of_dtype(x.dtype.c_str()).of_shape(output_extents(params.shape)).data<void>();
  check_disjoint(y, x);
  launch_avg_pool_fprop(params, to_stream(stream));
}

void avg_pool_bprop(const Tensor& dy, const Tensor& dx, int64_t pool_size, int64_t pool_stride, uintptr_t stream) {
  AvgPoolBpropParams params{};
  params.dtype = dx.floating();
  params.shape = check_pool(check_images(dx), pool_size, pool_stride);
  params.dy = dy.of_dtype(dx.dtype.c_str()).of_shape(output_extents(params.shape)).data<const void>();
  params.dx = dx.data<void>();
  check_disjoint(dx, dy);
  launch_avg_pool_bprop(params, to_stream(stream));
}

}  // namespace

void bind_avg_pool(py::module_& module) {
  bind_launch(module, "avg_pool_fprop", &avg_pool_fprop, "y = means over windows.", "x"_a, "y"_a, "pool_size"_a,
              "pool_stride"_a);
  bind_launch(module, "avg_pool_bprop", &avg_pool_bprop,
              "dx = sum of dy / pool_size^2 over the windows that cover the element.", "dy"_a, "dx"_a, "pool_size"_a,
              "pool_stride"_a);
}

}  // namespace alexnet::bindings
