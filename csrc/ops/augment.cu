#include "ops/augment.h"

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/augment.cuh"

namespace alexnet {

void launch_augment(const AugmentParams& params, cudaStream_t stream) {
  const FoldShape& shape = params.shape;
  if (shape.n == 0) return;
  const int64_t elements = shape.folded_count() / shape.n;
  const AugmentConfig config = augment_config({shape.n, elements, dtype_bytes(params.dtype), aligned16({params.y})});
  const AugmentViews views{params.top, params.left, params.mirrored, params.shift};
  AugmentColours colours{};
  for (int i = 0; i < 3; ++i) {
    colours.mean[i] = params.mean[i];
    colours.scale[i] = static_cast<float>(1.0 / params.std[i]);
  }
  colours.reverse = params.reverse_channels;
  const AugmentExtent extent{params.height,
                             params.width,
                             shape.h,
                             shape.stride_h,
                             shape.stride_w,
                             shape.padding_h,
                             shape.padding_w,
                             static_cast<int>(elements),
                             FastDivmod(shape.folded_c),
                             FastDivmod(shape.folded_w),
                             FastDivmod(shape.stride_w * params.channels)};
  const RowGrid grid(config.packs, config.row);
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    dispatch_bool(params.channels == 4, [&](auto fourth) {
      launch<augment_kernel<T, vector(), fourth() ? 4 : 3>>(config.row.grid, config.row.block, 6 * sizeof(float),
                                                            stream, params.images, params.y, views, colours, extent,
                                                            grid);
    });
  });
}

}  // namespace alexnet
