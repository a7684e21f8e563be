#include "ops/max_pool.h"

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/max_pool.cuh"

namespace alexnet {

void launch_max_pool_fprop(const MaxPoolFpropParams& params, cudaStream_t stream) {
  if (params.shape.images == 0 || params.shape.channels == 0) return;
  const PoolConfig config =
      pool_fprop_config({params.shape, dtype_bytes(params.dtype), aligned16({params.x, params.y, params.argmax})});
  const RowGrid grid(params.shape.output_elements() / config.vector, config.row);
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    dispatch_bool(params.shape.clipped(), [&](auto clipped) {
      launch<max_pool_fprop_kernel<T, vector(), clipped()>>(config.row.grid, config.row.block, 0, stream, params.x,
                                                            params.y, params.argmax, PoolGrid(params.shape), grid);
    });
  });
}

void launch_max_pool_bprop(const MaxPoolBpropParams& params, cudaStream_t stream) {
  if (params.shape.images == 0 || params.shape.channels == 0) return;
  const PoolConfig config = pool_bprop_config(
      {params.shape, dtype_bytes(params.dtype), aligned16({params.dy, params.argmax, params.y, params.dx})});
  const RowGrid grid(params.shape.input_elements() / config.vector, config.row);
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    dispatch_bool(params.y != nullptr, [&](auto relu) {
      const PooledGradient<T, relu()> gradient{static_cast<const T*>(params.dy), params.argmax,
                                               static_cast<const T*>(params.y), PoolGrid(params.shape)};
      launch<max_pool_bprop_kernel<T, vector(), relu()>>(config.row.grid, config.row.block, 0, stream, gradient,
                                                         params.dx, grid);
    });
  });
}

}  // namespace alexnet
