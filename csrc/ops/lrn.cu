#include "ops/lrn.h"

#include "common/elementwise.h"
#include "ops/lrn.cuh"
#include "ops/lrn_launch.h"

namespace alexnet {

void launch_lrn_fprop(const LrnFpropParams& params, cudaStream_t stream) {
  const int64_t image_elements = params.pixels * params.window.channels;
  if (params.images == 0 || image_elements == 0) return;
  const LrnConfig config = lrn_fprop_config(
      {params.images, params.pixels, params.window, dtype_bytes(params.dtype), aligned16({params.x, params.y})});
  const RowGrid grid(image_elements / config.vector, config.row);
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    dispatch_bool(params.window.beta == 0.75f, [&](auto three_quarters) {
      launch<lrn_fprop_kernel<T, vector(), three_quarters()>>(config.row.grid, config.row.block, 0, stream, params.x,
                                                              params.y, LrnShape(params.window), grid);
    });
  });
}

void launch_lrn_bprop(const LrnBpropParams& params, cudaStream_t stream) {
  const int64_t image_elements = params.pixels * params.window.channels;
  if (params.images == 0 || image_elements == 0) return;
  const LrnConfig config = lrn_bprop_config({params.images, params.pixels, params.window, dtype_bytes(params.dtype),
                                             aligned16({params.x, params.dy, params.dx})});
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const DirectGradient<T> gradient{static_cast<const T*>(params.dy), image_elements};
    launch_lrn_bprop_from<T>(gradient, config, params.x, params.dx, params.window, params.relu, image_elements, stream);
  });
}

}  // namespace alexnet
