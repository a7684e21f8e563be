#include "ops/max_pool.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

void max_pool_fprop(const Tensor& x, const Tensor& y, const OptionalTensor& argmax, const PoolOptions& pool,
                    uintptr_t stream) {
  MaxPoolFpropParams params{};
  params.dtype = x.floating();
  params.shape = check_pool(check_images(x), pool);
  params.x = x.data<const void>();
  params.y = y.of_dtype(x.dtype.c_str()).of_shape(output_extents(params.shape)).data<void>();
  if (argmax) params.argmax = argmax->of_shape(y.shape).data<uint8_t>();
  check_disjoint(y, x);
  launch_max_pool_fprop(params, to_stream(stream));
}

void max_pool_bprop(const Tensor& dy, const Tensor& argmax, const OptionalTensor& y, const Tensor& dx,
                    const PoolOptions& pool, uintptr_t stream) {
  MaxPoolBpropParams params{};
  params.dtype = dx.floating();
  params.shape = check_pool(check_images(dx), pool);
  params.dy = dy.of_dtype(dx.dtype.c_str()).of_shape(output_extents(params.shape)).data<const void>();
  params.argmax = argmax.of_shape(dy.shape).data<const uint8_t>();
  if (y) params.y = y->like(dy).data<const void>();
  params.dx = dx.data<void>();
  check_disjoint(dx, dy);
  if (y) check_disjoint(dx, *y);
  launch_max_pool_bprop(params, to_stream(stream));
}

using ChoosePool = PoolConfig (*)(const PoolProblem&);

template <ChoosePool choose>
py::dict pool_choice(int64_t images, int64_t height, int64_t width, int64_t channels, const PoolOptions& pool,
                     const std::string& dtype, bool aligned) {
  const PoolShape shape = check_pool(check_images({images, height, width, channels}), pool);
  const PoolConfig config = choose({shape, dtype_bytes(parse_dtype(dtype)), aligned});
  return describe_choice(config.vector, config.row);
}

}  // namespace

void bind_max_pool(py::module_& module) {
  bind_launch(module, "max_pool_fprop", &max_pool_fprop,
              "y = maxima over windows; argmax = row * size + column of the first in its window, None: not wanted.",
              "x"_a, "y"_a, "argmax"_a, "pool"_a);
  bind_launch(module, "max_pool_bprop", &max_pool_bprop,
              "dx = sum of dy over the windows whose maximum the element was. y: the pool's output; a window where it "
              "is not positive passes nothing (a ReLU before the pool); None: all pass.",
              "dy"_a, "argmax"_a, "y"_a, "dx"_a, "pool"_a);
  const auto bind_choice = [&](const char* name, auto choose, const char* doc) {
    module.def(name, choose, py::kw_only(), "images"_a, "height"_a, "width"_a, "channels"_a, "pool"_a, "dtype"_a,
               "aligned"_a, doc);
  };
  bind_choice("max_pool_fprop_config", &pool_choice<&pool_fprop_config>,
              "Launch choice of max_pool_fprop and avg_pool_fprop; aligned: every pointer is a multiple of 16 bytes.");
  bind_choice("max_pool_bprop_config", &pool_choice<&pool_bprop_config>,
              "Launch choice of max_pool_bprop and avg_pool_bprop; aligned: every pointer is a multiple of 16 bytes.");
}

}  // namespace alexnet::bindings
