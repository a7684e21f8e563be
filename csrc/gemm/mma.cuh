// The MMA policies: element type, and how an operand's words are converted for the tensor cores.
//
// A step along K is two 16-byte chunks for every type: 16 elements of 2 bytes, 8 of 4 bytes.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "gemm/precision.h"
#include "ptx/ldmatrix.cuh"
#include "ptx/mma.cuh"

namespace alexnet {

// Rounds to TF32 (10 bits of mantissa), ties away from zero, as cvt.rna.tf32 does, for which ptxas emits more. NaN
// stays NaN, which integers would carry to infinity or -0.
__device__ inline uint32_t to_tf32(float value) {
  return value == value ? (__float_as_uint(value) + 0x1000u) & 0xFFFFE000u : 0x7FFFE000u;
}

template <Precision>
struct Mma;

template <>
struct Mma<Precision::kBFloat16> {
  using T = bf16;
  static constexpr ptx::MmaInput kInput = ptx::MmaInput::kBFloat16;
  static constexpr int kParts = 1;
  __device__ static void split(uint32_t raw, uint32_t (&part)[kParts]) { part[0] = raw; }
};

template <>
struct Mma<Precision::kFloat16> {
  using T = fp16;
  static constexpr ptx::MmaInput kInput = ptx::MmaInput::kFloat16;
  static constexpr int kParts = 1;
  __device__ static void split(uint32_t raw, uint32_t (&part)[kParts]) { part[0] = raw; }
};

template <>
struct Mma<Precision::kTf32> {
  using T = float;
  static constexpr ptx::MmaInput kInput = ptx::MmaInput::kTf32;
  static constexpr int kParts = 1;
  __device__ static void split(uint32_t raw, uint32_t (&part)[kParts]) { part[0] = to_tf32(__uint_as_float(raw)); }
};

// 3xTF32: a = high + low with both in TF32 is exact to 2^-22 |a| or better, and high high + high low + low high lacks
// low low, at most 2^-22 |a b|: what FP32 additions lose of a product and its sum anyway.
//
// Both are rounded as by to_tf32. low has 12 bits, of which the instruction looks at 11: adding 2^-11 of it carries
// into those where the last bit is set, and nowhere else. (A subnormal low, so of |a| < 2^-113 alone, may be cut off
// instead.) Of NaN high may be anything, but low is NaN; of infinity, and of what rounds to it, low is NaN or the other
// infinity. So no sum that one of them enters is finite.
template <>
struct Mma<Precision::kFloat32> {
  using T = float;
  static constexpr ptx::MmaInput kInput = ptx::MmaInput::kTf32;
  static constexpr int kParts = 2;
  __device__ static void split(uint32_t raw, uint32_t (&part)[kParts]) {
    part[0] = (raw + 0x1000u) & 0xFFFFE000u;
    const float low = __uint_as_float(raw) - __uint_as_float(part[0]);
    part[1] = __float_as_uint(__fmaf_rn(low, 0x1p-11f, low));
  }
};

// Reads of fragments from a shared tile. kKMajor: rows are M or N and K lies along them; else rows are
// K. `first` is the first m or n of the fragment, `step` counts the tile's steps of two chunks.
template <typename T, class Tile, bool kKMajor>
struct Fragments {
  static constexpr int kChunk = Tile::kChunk;

  __device__ static uint32_t word(const char* shared, int row, int column) {
    const int offset = Tile::chunk_offset(row, column / 4) + column % 4 * 4;
    return *reinterpret_cast<const uint32_t*>(shared + offset);
  }

  // 16 of m by one step.
  __device__ static void load_a(uint32_t (&raw)[4], const char* shared, int first, int step) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if constexpr (kKMajor) {
      ptx::ldmatrix(raw, shared + Tile::chunk_offset(first + lane % 16, 2 * step + lane / 16));
    } else if constexpr (sizeof(T) == 2) {
      const int row = step * 2 * kChunk + lane / 16 * 8 + lane % 8;
      ptx::ldmatrix_transposed(raw, shared + Tile::chunk_offset(row, first / kChunk + lane / 8 % 2));
    } else {
      const int row = step * 2 * kChunk + lane % 4;
      const int column = first + lane / 4;
      raw[0] = word(shared, row, column);
      raw[1] = word(shared, row, column + 8);
      raw[2] = word(shared, row + 4, column);
      raw[3] = word(shared, row + 4, column + 8);
    }
  }

  // One step by 16 of n: words 0 and 1 for the first 8, 2 and 3 for the others.
  __device__ static void load_b(uint32_t (&raw)[4], const char* shared, int first, int step) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if constexpr (kKMajor) {
      const int row = first + lane / 16 * 8 + lane % 8;
      ptx::ldmatrix(raw, shared + Tile::chunk_offset(row, 2 * step + lane / 8 % 2));
    } else if constexpr (sizeof(T) == 2) {
      const int row = step * 2 * kChunk + lane / 8 % 2 * 8 + lane % 8;
      ptx::ldmatrix_transposed(raw, shared + Tile::chunk_offset(row, first / kChunk + lane / 16));
    } else {
      const int row = step * 2 * kChunk + lane % 4;
      const int column = first + lane / 4;
      raw[0] = word(shared, row, column);
      raw[1] = word(shared, row + 4, column);
      raw[2] = word(shared, row, column + 8);
      raw[3] = word(shared, row + 4, column + 8);
    }
  }
};

}  // namespace alexnet
