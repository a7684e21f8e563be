#include "ops/augment.h"

#include "common/check.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/augment.cuh"

namespace alexnet {

void launch_augment(const AugmentParams& params, cudaStream_t stream) {
  if (params.count == 0) return;
  const AugmentConfig config =
      augment_config({params.count, params.size, params.channels, dtype_bytes(params.dtype), aligned16({params.y})});
  const AugmentViews views{params.top, params.left, params.mirrored, params.shift};
  AugmentColours colours{};
  for (int i = 0; i < 3; ++i) {
    colours.mean[i] = params.mean[i];
    colours.scale[i] = static_cast<float>(1.0 / params.std[i]);
  }
  colours.reverse = params.reverse_channels;
  const AugmentSize extent{params.height, params.width, FastDivmod(params.size)};
  const RowGrid grid(config.packs, config.row);
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch_vector<T>(config.vector, [&](auto vector) {
      const auto start = [&](auto kernel) {
        launch(kernel, config.row.grid, config.row.block, 8 * sizeof(float), stream, params.images,
               static_cast<T*>(params.y), views, colours, extent, grid);
      };
      if (params.channels == 3) {
        start(augment_kernel<T, vector(), 3>);
      } else {
        start(augment_kernel<T, vector(), 4>);
      }
    });
  });
  check_launch("augment_kernel");
}

}  // namespace alexnet
