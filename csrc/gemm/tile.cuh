// A tile of an operand in shared memory: its layout, how it is filled from a source, and what a block's shape is.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "ptx/cp_async.cuh"

namespace alexnet {

// Shape of a thread block's work: a tile of C, cut into warps_m * warps_n equal parts, the pipeline's stages, and how
// many blocks a multiprocessor must have registers for.
template <int kTileM_, int kTileN_, int kWarpsM_, int kWarpsN_, int kStages_, int kBlocks_>
struct TileShape {
  static constexpr int kTileM = kTileM_;
  static constexpr int kTileN = kTileN_;
  static constexpr int kWarpsM = kWarpsM_;
  static constexpr int kWarpsN = kWarpsN_;
  static constexpr int kStages = kStages_;
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kWarpM = kTileM / kWarpsM;
  static constexpr int kWarpN = kTileN / kWarpsN;
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0, "a warp's part is made of 16 x 8 products, columns in pairs");
};

// K of a tile: 128 bytes, one pass of all banks.
template <typename T>
inline constexpr int kTileK = 128 / sizeof(T);

// Rows of 16-byte chunks, swizzled: a chunk's number is XORed with the row's, so that neither the copies that write a
// row nor the reads that go down a column meet in a bank.
//
// ldmatrix reads one chunk from each of 8 rows: all 8 must differ modulo 8 chunks. 32-bit elements along M or N are
// read one by one, 8 neighbours (two chunks) from each of 4 rows: here the 4 pairs must differ.
template <typename T, int kRows, int kColumns, bool kReadByWord>
struct SharedTile {
  static constexpr int kChunk = 16 / sizeof(T);
  static constexpr int kPitch = (kColumns * static_cast<int>(sizeof(T)) + 127) / 128 * 128;
  static constexpr int kBytes = kRows * kPitch;

  __device__ static int chunk_offset(int row, int chunk) {
    const int swizzle = kReadByWord ? (row & 3) << 1 : row & 7;
    return row * kPitch + ((chunk ^ swizzle) << 4);
  }
};

// Copies a source's tile to shared memory, 16 bytes a thread, kCopiesPerThread times.
//
// kKMajor: the columns are K (its rows stay the same from tile to tile); else the rows are. kVector: every chunk is 16
// aligned bytes of memory, moved by cp.async. Otherwise element by element through registers, and done when fill()
// returns.
template <typename T, class Source, class Tile, int kRows, int kColumns, int kThreads, bool kKMajor, bool kVector>
class TileLoader {
  static constexpr int kChunk = Tile::kChunk;
  static constexpr int kChunks = kColumns / kChunk;
  static constexpr int kRowStep = kThreads / kChunks;
  static constexpr int kCopiesPerThread = (kRows + kRowStep - 1) / kRowStep;
  static_assert(kThreads % kChunks == 0, "a thread keeps its column of chunks");

  const Source& source_;
  const int row_, chunk_;  // of the first copy, within the tile
  const int origin_;       // of the tile, along M or N
  typename Source::Row rows_[kCopiesPerThread];
  typename Source::Column column_;

  __device__ static bool in_tile(int row) { return kRows % kRowStep == 0 || row < kRows; }

 public:
  __device__ TileLoader(const Source& source, int origin)
      : source_(source),
        row_(static_cast<int>(threadIdx.x) / kChunks),
        chunk_(static_cast<int>(threadIdx.x) % kChunks),
        origin_(origin) {
    if constexpr (kKMajor) {
#pragma unroll
      for (int i = 0; i < kCopiesPerThread; ++i) rows_[i] = source_.row(origin_ + row_ + i * kRowStep);
    } else {
      column_ = source_.column(origin_ + chunk_ * kChunk);
    }
  }

  // Starts the copy of the tile that begins at `k`.
  __device__ void fill(char* shared, int k) {
    if constexpr (kVector) {
      if constexpr (kKMajor) column_ = source_.column(k + chunk_ * kChunk);
#pragma unroll
      for (int i = 0; i < kCopiesPerThread; ++i) {
        const int row = row_ + i * kRowStep;
        if (!in_tile(row)) break;
        if constexpr (!kKMajor) rows_[i] = source_.row(k + row);
        const T* const from = source_.address(rows_[i], column_);
        ptx::cp_async<16>(shared + Tile::chunk_offset(row, chunk_), from != nullptr ? from : source_.data,
                          from != nullptr ? 16 : 0);
      }
    } else {
      fill_by_element(shared, k);
    }
  }

 private:
  __device__ void fill_by_element(char* shared, int k) {
    if constexpr (!kKMajor) {
#pragma unroll
      for (int i = 0; i < kCopiesPerThread; ++i) rows_[i] = source_.row(k + row_ + i * kRowStep);
    }
    // Not unrolled: this path is for shapes of no importance to speed, and unrolled it took the compiler 3 s a kernel.
#pragma unroll 1
    for (int e = 0; e < kChunk; ++e) {
      const typename Source::Column column = source_.column((kKMajor ? k : origin_) + chunk_ * kChunk + e);
#pragma unroll
      for (int i = 0; i < kCopiesPerThread; ++i) {
        const int row = row_ + i * kRowStep;
        if (!in_tile(row)) break;
        const T* const from = source_.address(rows_[i], column);
        T* const to = reinterpret_cast<T*>(shared + Tile::chunk_offset(row, chunk_));
        to[e] = from != nullptr ? *from : from_float<T>(0.0f);
      }
    }
  }
};

}  // namespace alexnet
