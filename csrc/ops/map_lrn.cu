#include "ops/map_lrn.h"

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/map_lrn.cuh"

namespace alexnet {

void launch_map_lrn_fprop(const MapLrnFpropParams& params, cudaStream_t stream) {
  if (params.shape.images == 0 || params.shape.image_elements() == 0) return;
  const MapLrnConfig config =
      map_lrn_fprop_config({params.shape, dtype_bytes(params.dtype), aligned16({params.x, params.y})});
  const RowGrid grid(config.packs, config.row);
  dispatch(config.vector, params.dtype, [&](auto vector, auto type) {
    using T = typename decltype(type)::type;
    dispatch_bool(params.shape.beta == 0.75f, [&](auto three_quarters) {
      launch<map_lrn_fprop_kernel<T, vector(), three_quarters()>>(config.row.grid, config.row.block, 0, stream,
                                                                  params.x, params.y, MapLrnGrid(params.shape), grid);
    });
  });
}

void launch_map_lrn_bprop(const MapLrnBpropParams& params, cudaStream_t stream) {
  if (params.shape.images == 0 || params.shape.image_elements() == 0) return;
  const MapLrnConfig config =
      map_lrn_bprop_config({params.shape, dtype_bytes(params.dtype), aligned16({params.dy, params.x, params.dx})});
  const RowGrid grid(config.packs, config.row);
  dispatch_dtype(params.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    dispatch_bool(params.shape.beta == 0.75f, [&](auto three_quarters) {
      launch<map_lrn_bprop_kernel<T, three_quarters()>>(config.row.grid, config.row.block, config.shared_bytes, stream,
                                                        params.dy, params.x, params.dx, MapLrnGrid(params.shape), grid);
    });
  });
}

}  // namespace alexnet
