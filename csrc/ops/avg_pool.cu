#include "ops/avg_pool.h"

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/avg_pool.cuh"

namespace alexnet {

void launch_avg_pool_fprop(const AvgPoolFpropParams& params, cudaStream_t stream) {
  if (params.shape.images == 0 || params.shape.channels == 0) return;
  const PoolConfig config =
      pool_fprop_config({params.shape, dtype_bytes(params.dtype), aligned16({params.x, params.y})});
  const RowGrid grid(params.shape.output_elements() / config.vector, config.row);
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    dispatch_bool(params.shape.clipped(), [&](auto clipped) {
      launch<avg_pool_fprop_kernel<T, vector(), clipped()>>(config.row.grid, config.row.block, 0, stream, params.x,
                                                            params.y, PoolShare(params.shape, params.counted),
                                                            PoolGrid(params.shape), grid);
    });
  });
}

void launch_avg_pool_bprop(const AvgPoolBpropParams& params, cudaStream_t stream) {
  if (params.shape.images == 0 || params.shape.channels == 0) return;
  const PoolConfig config =
      pool_bprop_config({params.shape, dtype_bytes(params.dtype), aligned16({params.dy, params.dx})});
  const RowGrid grid(params.shape.input_elements() / config.vector, config.row);
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    dispatch_bool(params.shape.clipped(), [&](auto clipped) {
      launch<avg_pool_bprop_kernel<T, vector(), clipped()>>(config.row.grid, config.row.block, 0, stream, params.dy,
                                                            params.dx, PoolShare(params.shape, params.counted),
                                                            PoolGrid(params.shape), grid);
    });
  });
}

}  // namespace alexnet
