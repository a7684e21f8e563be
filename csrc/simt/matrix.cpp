#include "simt/matrix.h"

#include <cstring>

#include "simt/executor.h"
#include "simt/float16.h"

namespace alexnet::simt {
namespace {

constexpr int kRows = 16;    // of A and D
constexpr int kColumns = 8;  // of B and D
constexpr int kMatrixRows = 8;
constexpr int kMatrixRowBytes = 16;

using Row = float __attribute__((vector_size(kColumns * sizeof(float))));
using Bits = int32_t __attribute__((vector_size(kColumns * sizeof(int32_t))));
using Words = uint32_t __attribute__((vector_size(kColumns * sizeof(uint32_t))));

struct LdmatrixArgument {
  uint32_t* registers;
  const void* row;
};

// A lane gets elements 2 t and 2 t + 1 of row g, where g is lane / 4 and t lane % 4; of column g where transposed.
template <int kCount, bool kTransposed>
void perform_ldmatrix(void* const* arguments, uint32_t) {
  for (int matrix = 0; matrix < kCount; ++matrix) {
    uint16_t element[kMatrixRows][kMatrixRows];
    for (int row = 0; row < kMatrixRows; ++row) {
      const void* source = static_cast<const LdmatrixArgument*>(arguments[matrix * kMatrixRows + row])->row;
      memcpy(element[row], source, kMatrixRowBytes);
    }
    for (unsigned lane = 0; lane < kWarpSize; ++lane) {
      const unsigned g = lane / 4, t = lane % 4;
      const uint32_t low = kTransposed ? element[2 * t][g] : element[g][2 * t];
      const uint32_t high = kTransposed ? element[2 * t + 1][g] : element[g][2 * t + 1];
      static_cast<const LdmatrixArgument*>(arguments[lane])->registers[matrix] = low | high << 16;
    }
  }
}

template <MmaInput input>
inline float half_value(uint16_t bits) {
  return input == MmaInput::kBFloat16 ? bf16_value(bits) : fp16_value(bits);
}

// The instruction does not look at the lowest 13 bits of a TF32 operand.
inline float tf32_value(uint32_t bits) {
  return bit_cast<float>(bits & 0xFFFFE000u);
}

template <MmaInput input>
inline constexpr int kDepth = input == MmaInput::kTf32 ? 8 : 16;

// Element pairs of 16-bit inputs lie at k = 2 t and 2 t + 8; single TF32 elements at k = t and t + 4.
template <MmaInput input>
__attribute__((always_inline)) inline void gather_a(const MmaTile* const* lanes, int m, float (*a)[kRows]) {
  for (int lane = 0; lane < static_cast<int>(kWarpSize); ++lane) {
    const int g = lane / 4, t = lane % 4;
    const uint32_t* const registers = lanes[lane]->a + m * 4;
    for (int r = 0; r < 4; ++r) {
      const int row = g + (r % 2) * 8;
      if constexpr (input == MmaInput::kTf32) {
        a[t + r / 2 * 4][row] = tf32_value(registers[r]);
      } else {
        const int k = 2 * t + r / 2 * 8;
        a[k][row] = half_value<input>(static_cast<uint16_t>(registers[r]));
        a[k + 1][row] = half_value<input>(static_cast<uint16_t>(registers[r] >> 16));
      }
    }
  }
}

template <MmaInput input>
__attribute__((always_inline)) inline void gather_b(const MmaTile* const* lanes, int n, Row* b) {
  for (int lane = 0; lane < static_cast<int>(kWarpSize); ++lane) {
    const int g = lane / 4, t = lane % 4;
    const uint32_t* const registers = lanes[lane]->b + n * 2;
    for (int r = 0; r < 2; ++r) {
      if constexpr (input == MmaInput::kTf32) {
        b[t + r * 4][g] = tf32_value(registers[r]);
      } else {
        const int k = 2 * t + r * 8;
        b[k][g] = half_value<input>(static_cast<uint16_t>(registers[r]));
        b[k + 1][g] = half_value<input>(static_cast<uint16_t>(registers[r] >> 16));
      }
    }
  }
}

constexpr int kMantissaBits = 23;
constexpr int32_t kMagnitude = 0x7FFFFFFF;
constexpr int32_t kExponent = 0x7F800000;  // all of it: infinite, or not a number

// Sum += a row of A times B, as published of tensor cores (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of
// NVIDIA tensor cores", 2021), for as many terms as one of their adders takes: the sum so far and the exact products
// are aligned to the largest of them, lose what lies more than 24 bits below its first one, and what they add up to is
// cut off to float32. `most` becomes the largest magnitude so far; the sum is nonsense where that is infinite or not a
// number.
template <int kTerms>
__attribute__((always_inline)) inline void add_cut_off(Row& sum, Bits& most, const float (*a)[kRows], int row,
                                                       const Row* b) {
  constexpr int32_t kBias = 127, kKept = 24;
  Row product[kTerms];
  Bits largest = reinterpret_cast<Bits>(sum) & kMagnitude;
  for (int k = 0; k < kTerms; ++k) {
    product[k] = a[k][row] * b[k];
    const Bits size = reinterpret_cast<Bits>(product[k]) & kMagnitude;
    largest = size > largest ? size : largest;
  }
  most = largest > most ? largest : most;
  // Of sums below 2^-101 the unit stays the least normal number.
  const Bits exponent = largest & kExponent, least = Bits{} + ((kKept + 1) << kMantissaBits);
  const Bits unit = (exponent > least ? exponent : least) - (kKept << kMantissaBits);
  const Row scale = reinterpret_cast<Row>((2 * kBias << kMantissaBits) - unit);  // 1 / unit
  // In whole units, each below 2^25 and in all below 2^29; conversion cuts off. Unsigned, as nonsense may overflow.
  Words words = reinterpret_cast<Words>(__builtin_convertvector(sum * scale, Bits));
  for (int k = 0; k < kTerms; ++k) {
    words += reinterpret_cast<Words>(__builtin_convertvector(product[k] * scale, Bits));
  }
  const Bits total = reinterpret_cast<Bits>(words);
  // Back it rounds to nearest: one unit in the last place less where that went beyond, as which a comparison is -1.
  const Row near = __builtin_convertvector(total, Row);
  const Bits nearest = __builtin_convertvector(near, Bits);
  const Bits beyond = total < 0 ? nearest < total : nearest > total;
  sum = reinterpret_cast<Row>(reinterpret_cast<Bits>(near) + beyond) * reinterpret_cast<Row>(unit);
}

template <int kDepth>
__attribute__((always_inline)) inline void add_row_cut_off(Row& sum, const float (*a)[kRows], int row, const Row* b) {
  constexpr int kTerms = kDepth / 2;  // 4 of TF32, 8 of 16 bits
  const Row before = sum;
  Bits most = {};
  add_cut_off<kTerms>(sum, most, a, row, b);
  add_cut_off<kTerms>(sum, most, a + kTerms, row, b + kTerms);
  const Bits special = most >= kExponent;
  bool any = false;
  for (int i = 0; i < kColumns; ++i) any |= special[i] != 0;
  if (__builtin_expect(any, 0)) {
    Row infinite = before;
    for (int k = 0; k < kDepth; ++k) infinite += a[k][row] * b[k];
    sum = special ? infinite : sum;
  }
}

// Products are exact in float32. Exact sums take one k after the other, so fused or not the result is the same.
template <MmaInput input, MmaSums sums>
__attribute__((always_inline)) inline void multiply_tile(const MmaTile* const* lanes) {
  const MmaTile& first = *lanes[0];
  constexpr int kMaxColumnTiles = 32;
  Row b[kMaxColumnTiles][kDepth<input>];
  for (int n = 0; n < first.n_count; ++n) gather_b<input>(lanes, n, b[n]);
  for (int m = 0; m < first.m_count; ++m) {
    float a[kDepth<input>][kRows];
    gather_a<input>(lanes, m, a);
    for (int n = 0; n < first.n_count; ++n) {
      Row d[kRows];
      const int offset = (m * first.n_count + n) * 4;
      for (int g = 0; g < 8; ++g) {
        for (int t = 0; t < 4; ++t) {
          const float* const source = lanes[g * 4 + t]->d + offset;
          memcpy(reinterpret_cast<float*>(&d[g]) + 2 * t, source, 2 * sizeof(float));
          memcpy(reinterpret_cast<float*>(&d[g + 8]) + 2 * t, source + 2, 2 * sizeof(float));
        }
      }
      if constexpr (sums == MmaSums::kExact) {
        for (int row = 0; row < kRows; row += 4) {
          Row sum[4] = {d[row], d[row + 1], d[row + 2], d[row + 3]};
          for (int k = 0; k < kDepth<input>; ++k) {
            for (int i = 0; i < 4; ++i) sum[i] += a[k][row + i] * b[n][k];
          }
          for (int i = 0; i < 4; ++i) d[row + i] = sum[i];
        }
      } else {
        for (int row = 0; row < kRows; ++row) add_row_cut_off<kDepth<input>>(d[row], a, row, b[n]);
      }
      for (int g = 0; g < 8; ++g) {
        for (int t = 0; t < 4; ++t) {
          float* const target = lanes[g * 4 + t]->d + offset;
          memcpy(target, reinterpret_cast<const float*>(&d[g]) + 2 * t, 2 * sizeof(float));
          memcpy(target + 2, reinterpret_cast<const float*>(&d[g + 8]) + 2 * t, 2 * sizeof(float));
        }
      }
    }
  }
}

// Functions of their own, as templates cannot be compiled twice.
#define ALEXNET_MULTIPLY(name, input, sums)                    \
  ALEXNET_SIMT_CLONES void name(const MmaTile* const* lanes) { \
    multiply_tile<MmaInput::input, MmaSums::sums>(lanes);      \
  }
ALEXNET_MULTIPLY(multiply_tf32, kTf32, kExact)
ALEXNET_MULTIPLY(multiply_bf16, kBFloat16, kExact)
ALEXNET_MULTIPLY(multiply_fp16, kFloat16, kExact)
ALEXNET_MULTIPLY(multiply_tf32_cut_off, kTf32, kTruncated)
ALEXNET_MULTIPLY(multiply_bf16_cut_off, kBFloat16, kTruncated)
ALEXNET_MULTIPLY(multiply_fp16_cut_off, kFloat16, kTruncated)
#undef ALEXNET_MULTIPLY

template <void (*multiply)(const MmaTile* const* lanes)>
void perform_mma(void* const* arguments, uint32_t) {
  const MmaTile* lanes[kWarpSize];
  for (unsigned lane = 0; lane < kWarpSize; ++lane) lanes[lane] = static_cast<const MmaTile*>(arguments[lane]);
  multiply(lanes);
}

// By MmaSums and MmaInput.
constexpr PerformWarpOp kMmaPerformers[2][3] = {
    {&perform_mma<multiply_tf32>, &perform_mma<multiply_bf16>, &perform_mma<multiply_fp16>},
    {&perform_mma<multiply_tf32_cut_off>, &perform_mma<multiply_bf16_cut_off>, &perform_mma<multiply_fp16_cut_off>},
};

PerformWarpOp ldmatrix_performer(int count, bool transposed) {
  switch (count) {
    case 1:
      return transposed ? &perform_ldmatrix<1, true> : &perform_ldmatrix<1, false>;
    case 2:
      return transposed ? &perform_ldmatrix<2, true> : &perform_ldmatrix<2, false>;
    default:
      return transposed ? &perform_ldmatrix<4, true> : &perform_ldmatrix<4, false>;
  }
}

}  // namespace

void ldmatrix(uint32_t* registers, const void* row, int count, bool transposed, Site site) {
  Fiber& self = running_fiber();
  // Only the first 8 lanes for each matrix bring an address that is used.
  if (self.lane < static_cast<unsigned>(count * kMatrixRows)) {
    if (reinterpret_cast<uintptr_t>(row) % kMatrixRowBytes != 0) {
      fail("ldmatrix at %s gets row address %p; expected a multiple of 16", text(site).c_str(), row);
    }
    if (!self.runner->shared().contains(row, kMatrixRowBytes)) {
      fail("ldmatrix at %s gets row address %p, which is not in an array of shared memory", text(site).c_str(), row);
    }
  }
  LdmatrixArgument argument = {registers, row};
  warp_rendezvous(WarpOp::kLdmatrix, kFullMask, &argument, ldmatrix_performer(count, transposed), site);
}

void mma(MmaInput input, const MmaTile& tile, Site site) {
  const PerformWarpOp perform = kMmaPerformers[static_cast<int>(mma_sums())][static_cast<int>(input)];
  warp_rendezvous(WarpOp::kMma, kFullMask, const_cast<MmaTile*>(&tile), perform, site);
}

}  // namespace alexnet::simt
