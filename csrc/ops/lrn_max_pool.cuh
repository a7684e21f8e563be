// LRN and the max-pool after it: what the LRN writes never reaches memory, forward or backward.
#pragma once

#include <cstdint>

#include "ops/lrn.cuh"
#include "ops/lrn_max_pool.h"
#include "ops/max_pool.cuh"

namespace alexnet {

// Where a block's tile lies, with the divisors that find a place in it.
struct LrnMaxPoolTile {
  int rows, columns;        // of outputs
  int in_rows, in_columns;  // of inputs
  FastDivmod packs, out_width, in_width;
  FastDivmod row_tiles, column_tiles, pack_tiles;

  LrnMaxPoolTile(const LrnMaxPoolConfig& config, const PoolShape& shape)
      : rows(config.rows),
        columns(config.columns),
        in_rows(pool_extent(shape, config.rows)),
        in_columns(pool_extent(shape, config.columns)),
        packs(config.packs),
        out_width(config.columns),
        in_width(in_columns),
        row_tiles(config.row_tiles),
        column_tiles(config.column_tiles),
        pack_tiles(config.pack_tiles) {}
};

struct LrnMaxPoolPlace {
  int64_t image;
  int row, column, pack;  // first output and first pack of channels
};

// Channels vary fastest, then columns: blocks that run together read neighbouring memory.
__device__ inline LrnMaxPoolPlace lrn_max_pool_place(const LrnMaxPoolTile& tile) {
  const int block = static_cast<int>(blockIdx.x);
  const int columns_done = tile.pack_tiles.quotient(block);
  const int rows_done = tile.column_tiles.quotient(columns_done);
  const int images_done = tile.row_tiles.quotient(rows_done);
  return {images_done, tile.row_tiles.remainder(rows_done, images_done) * tile.rows,
          tile.column_tiles.remainder(columns_done, rows_done) * tile.columns,
          tile.pack_tiles.remainder(block, columns_done) * tile.packs.divisor};
}

// Pack `index` of a tile that is `width` pixels wide.
__device__ inline PoolPixel lrn_max_pool_pixel(const LrnMaxPoolTile& tile, const FastDivmod& width, int index) {
  const int pixel = tile.packs.quotient(index);
  const int row = width.quotient(pixel);
  return {row, width.remainder(pixel, row), tile.packs.remainder(index, pixel)};
}

// y = max-pool(LRN(x) rounded to T), argmax as max_pool_fprop_kernel: the same bits as the two kernels in turn.
//
// x: [N, H, W, C] of T; y: [N, P, Q, C] of T; argmax: [N, P, Q, C] uint8, or null. y and argmax are overwritten and may
// not overlap x. FP32 inside.
// Grid and block: lrn_max_pool_config; shared memory for the normalised tile, up to 48 KiB. kVector > 1 needs all on 16
// bytes, LRN segments that are a multiple of kVector, and windows of kLrnVectorSize; kVector 1 takes all.
// kClipped as in PoolGrid::window.
// Floor: (H * W * sizeof(T) + P * Q * (sizeof(T) + 1)) * N * C bytes; 11 FLOPs an input and size^2 comparisons an
// output. What tiles share of x is read again, from L2. Deterministic.
template <typename T, int kVector, bool kThreeQuarters, bool kClipped>
__global__ void __launch_bounds__(kLrnMaxPoolBlock, 4)
    lrn_max_pool_fprop_kernel(const T* x,       // [N, H, W, C]
                              T* y,             // [N, P, Q, C]
                              uint8_t* argmax,  // [N, P, Q, C], or null
                              LrnShape shape, PoolGrid pool, LrnMaxPoolTile tile) {
  ALEXNET_DYNAMIC_SHARED(T, normalised);  // [in_rows, in_columns, packs * kVector]
  const LrnMaxPoolPlace place = lrn_max_pool_place(tile);
  const int packs = tile.packs.divisor;
  // Where the first window begins.
  const int top = place.row * pool.stride.divisor - (kClipped ? pool.padding_h : 0);
  const int left = place.column * pool.stride.divisor - (kClipped ? pool.padding_w : 0);

  const int inputs = tile.in_rows * tile.in_columns * packs;
  for (int i = static_cast<int>(threadIdx.x); i < inputs; i += kLrnMaxPoolBlock) {
    const PoolPixel pixel = lrn_max_pool_pixel(tile, tile.in_width, i);
    const int row = top + pixel.row, column = left + pixel.column;
    const int channel = (place.pack + pixel.channel) * kVector;
    const bool inside = static_cast<unsigned>(row) < static_cast<unsigned>(pool.height) &&
                        static_cast<unsigned>(column) < static_cast<unsigned>(pool.width);
    if (!inside || channel >= pool.channels.divisor) continue;
    float value[kVector];
    lrn_normalise<kVector, kThreeQuarters>(x + pool.input_offset(place.image, row, column) + channel,
                                           shape.column(channel), shape, value);
    store_rounded(normalised + i * kVector, value);
  }
  __syncthreads();

  const int outputs = tile.rows * tile.columns * packs;
  for (int i = static_cast<int>(threadIdx.x); i < outputs; i += kLrnMaxPoolBlock) {
    const PoolPixel pixel = lrn_max_pool_pixel(tile, tile.out_width, i);
    const int row = place.row + pixel.row, column = place.column + pixel.column;
    const int channel = (place.pack + pixel.channel) * kVector;
    if (row >= pool.out_height || column >= pool.out_width || channel >= pool.channels.divisor) continue;
    const PoolWindow window = pool.window<kClipped>(row, column);
    const int first = ((window.row - top) * tile.in_columns + window.column - left) * packs + pixel.channel;
    const int64_t output = pool.output_offset(place.image, row, column) + channel;
    max_of_window<kVector>(normalised + first * kVector, window, pool.size, tile.in_columns * packs * kVector,
                           packs * kVector, y + output, argmax == nullptr ? nullptr : argmax + output);
  }
}

}  // namespace alexnet
