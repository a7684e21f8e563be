#include "ops/lrn_max_pool.h"

#include "common/elementwise.h"
#include "ops/lrn_launch.h"
#include "ops/lrn_max_pool.cuh"

namespace alexnet {

void launch_lrn_max_pool_fprop(const LrnMaxPoolFpropParams& params, cudaStream_t stream) {
  if (params.shape.images == 0 || params.shape.channels == 0) return;
  const LrnMaxPoolConfig config = lrn_max_pool_config(
      {params.shape, params.window, dtype_bytes(params.dtype), aligned16({params.x, params.y, params.argmax})},
      current_machine());
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    dispatch_bool(params.window.beta == 0.75f, [&](auto three_quarters) {
      dispatch_bool(params.shape.clipped(), [&](auto clipped) {
        launch<lrn_max_pool_fprop_kernel<T, vector(), three_quarters(), clipped()>>(
            config.grid, config.block, config.shared_bytes, stream, params.x, params.y, params.argmax,
            LrnShape(params.window), PoolGrid(params.shape), LrnMaxPoolTile(config, params.shape));
      });
    });
  });
}

void launch_lrn_max_pool_bprop(const LrnMaxPoolBpropParams& params, cudaStream_t stream) {
  if (params.shape.images == 0 || params.shape.channels == 0) return;
  const int64_t pixels = int64_t{params.shape.height} * params.shape.width;
  const LrnConfig config = lrn_bprop_config({params.shape.images, pixels, params.window, dtype_bytes(params.dtype),
                                             aligned16({params.dy, params.argmax, params.x, params.dx})});
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const PooledGradient<T, false> gradient{static_cast<const T*>(params.dy), params.argmax, nullptr,
                                            PoolGrid(params.shape)};
    launch_lrn_bprop_from<T>(gradient, config, params.x, params.dx, params.window, params.relu,
                             params.shape.input_elements(), stream);
  });
}

}  // namespace alexnet
