#include "simt/matrix.h"

#include <cstring>

#include "simt/executor.h"
#include "simt/float16.h"

namespace alexnet::simt {
namespace {

constexpr int kMatrixRows = 8;
constexpr int kMatrixRowBytes = 16;

// Rows g and g + 8 of D as their lanes hold them: of lane 4 g + t columns 2 t and 2 t + 1 of the one, then of the
// other.
constexpr int kRowPairs = 8;
constexpr int kPairSums = 16;

// Whatever is compiled for more than one processor has to become part of a function that says for which.
#define ALEXNET_INLINE __attribute__((always_inline)) inline

// Vectors of a width that a processor has.
template <typename Float, typename Int, typename Unsigned>
struct Vectors {
  using Sums = Float;
  using Bits = Int;
  using Words = Unsigned;
  static constexpr int kWidth = sizeof(Sums) / sizeof(float);
  static constexpr int kParts = kPairSums / kWidth;
};
#define ALEXNET_VECTOR(type, bytes) type __attribute__((vector_size(bytes)))
using Avx2 = Vectors<ALEXNET_VECTOR(float, 32), ALEXNET_VECTOR(int32_t, 32), ALEXNET_VECTOR(uint32_t, 32)>;
using Avx512 = Vectors<ALEXNET_VECTOR(float, 64), ALEXNET_VECTOR(int32_t, 64), ALEXNET_VECTOR(uint32_t, 64)>;
#undef ALEXNET_VECTOR

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

// What each sum of a pair of rows takes of A and of B.
template <typename V>
struct Factors {
  typename V::Sums of[V::kParts];
};

// The k of a lane's first value, and of the values in its next register: pairs of 16 bits, single TF32 ones.
template <MmaInput input>
inline constexpr int kStep = input == MmaInput::kTf32 ? 1 : 2;

template <MmaInput input>
inline float value(uint32_t bits, int i) {
  if constexpr (input == MmaInput::kTf32) return tf32_value(bits);
  return half_value<input>(static_cast<uint16_t>(bits >> (16 * i)));
}

// Registers of all lanes and the values in them, in loops that compilers make vectors of.
template <MmaInput input, int kRegisters>
struct Values {
  uint32_t bits[kWarpSize][kRegisters];
  float of[kStep<input>][kWarpSize][kRegisters];

  ALEXNET_INLINE void convert() {
    for (int i = 0; i < kStep<input>; ++i) {
      for (unsigned j = 0; j < kWarpSize * kRegisters; ++j) (&of[i][0][0])[j] = value<input>((&bits[0][0])[j], i);
    }
  }
};

// By pair of rows and k.
template <MmaInput input, typename V>
ALEXNET_INLINE void gather_a(const MmaTile* const* lanes, int m, Factors<V> (*a)[kDepth<input>]) {
  Values<input, 4> values;
  for (unsigned lane = 0; lane < kWarpSize; ++lane) memcpy(values.bits[lane], lanes[lane]->a + m * 4, 16);
  values.convert();
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < kStep<input>; ++i) {
        const float* const pair = values.of[i][lane] + 2 * half;
        const float factors[4] = {pair[0], pair[0], pair[1], pair[1]};
        char* const target = reinterpret_cast<char*>(&a[lane / 4][kStep<input> * (lane % 4 + 4 * half) + i]);
        for (int j = 0; j < 4; ++j) memcpy(target + j * sizeof(factors), factors, sizeof(factors));
      }
    }
  }
}

// By k.
template <MmaInput input, typename V>
ALEXNET_INLINE void gather_b(const MmaTile* const* lanes, int n, Factors<V>* b) {
  Values<input, 2> values;
  for (unsigned lane = 0; lane < kWarpSize; ++lane) memcpy(values.bits[lane], lanes[lane]->b + n * 2, 8);
  values.convert();
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    const int g = lane / 4, t = lane % 4, column = g / 2 * 4 + g % 2;
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < kStep<input>; ++i) {
        auto& part = b[kStep<input> * (t + 4 * half) + i].of[column / V::kWidth];
        part[column % V::kWidth] = part[column % V::kWidth + 2] = values.of[i][lane][half];
      }
    }
  }
}

constexpr int kMantissaBits = 23;
constexpr int32_t kMagnitude = 0x7FFFFFFF;
constexpr int32_t kExponent = 0x7F800000;  // all of it: infinite, or not a number

// Sum += a times b, as published of tensor cores (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of
// NVIDIA tensor cores", 2021), for as many terms as one of their adders takes: the sum so far and the exact products
// are aligned to the largest of them, lose what lies more than 24 bits below its first one, and what they add up to is
// cut off to float32. `most` becomes the largest magnitude so far; the sum is nonsense where that is infinite or not a
// number.
template <int kTerms, typename V>
ALEXNET_INLINE void add_terms_cut_off(typename V::Sums& sum, typename V::Bits& most, const Factors<V>* a,
                                      const Factors<V>* b, int part) {
  using Sums = typename V::Sums;
  using Bits = typename V::Bits;
  using Words = typename V::Words;
  constexpr int32_t kBias = 127, kKept = 24;
  Sums product[kTerms];
  Bits largest = reinterpret_cast<Bits>(sum) & kMagnitude;
  for (int k = 0; k < kTerms; ++k) {
    product[k] = a[k].of[part] * b[k].of[part];
    const Bits size = reinterpret_cast<Bits>(product[k]) & kMagnitude;
    largest = size > largest ? size : largest;
  }
  most = largest > most ? largest : most;
  // Of sums below 2^-101 the unit stays the least normal number.
  const Bits exponent = largest & kExponent, least = Bits{} + ((kKept + 1) << kMantissaBits);
  const Bits unit = (exponent > least ? exponent : least) - (kKept << kMantissaBits);
  const Sums scale = reinterpret_cast<Sums>((2 * kBias << kMantissaBits) - unit);  // 1 / unit
  // In whole units, each below 2^25 and in all below 2^29; conversion cuts off. Unsigned, as nonsense may overflow.
  Words words = reinterpret_cast<Words>(__builtin_convertvector(sum * scale, Bits));
  for (int k = 0; k < kTerms; ++k) {
    words += reinterpret_cast<Words>(__builtin_convertvector(product[k] * scale, Bits));
  }
  const Bits total = reinterpret_cast<Bits>(words);
  // Back it rounds to nearest: one unit in the last place less where that went beyond, as which a comparison is -1.
  const Sums near = __builtin_convertvector(total, Sums);
  const Bits nearest = __builtin_convertvector(near, Bits);
  const Bits beyond = total < 0 ? nearest < total : nearest > total;
  sum = reinterpret_cast<Sums>(reinterpret_cast<Bits>(near) + beyond) * reinterpret_cast<Sums>(unit);
}

// Pairs of rows of D.
template <typename V>
using Tile = typename V::Sums[kRowPairs][V::kParts];

template <bool kStore, typename V>
ALEXNET_INLINE void copy(const MmaTile* const* lanes, int offset, Tile<V>& d) {
  constexpr size_t kLaneBytes = 4 * sizeof(float);
  char* const tile = reinterpret_cast<char*>(&d);
  for (int lane = 0; lane < static_cast<int>(kWarpSize); ++lane) {
    float* const sums = lanes[lane]->d + offset;
    if constexpr (kStore) {
      memcpy(sums, tile + lane * kLaneBytes, kLaneBytes);
    } else {
      memcpy(tile + lane * kLaneBytes, sums, kLaneBytes);
    }
  }
}

// Products are exact in float32, so fused with the sum or not the result is the same.
template <int kDepth, typename V>
ALEXNET_INLINE void add_exact(Tile<V>& d, const Factors<V> (*a)[kDepth], const Factors<V>* b) {
  constexpr int kAtOnce = 4;
  for (int pair = 0; pair < kRowPairs; pair += kAtOnce) {
    for (int part = 0; part < V::kParts; ++part) {
      typename V::Sums sum[kAtOnce];
      for (int i = 0; i < kAtOnce; ++i) sum[i] = d[pair + i][part];
      for (int k = 0; k < kDepth; ++k) {
        for (int i = 0; i < kAtOnce; ++i) sum[i] += a[pair + i][k].of[part] * b[k].of[part];
      }
      for (int i = 0; i < kAtOnce; ++i) d[pair + i][part] = sum[i];
    }
  }
}

template <int kDepth, typename V>
ALEXNET_INLINE void add_cut_off(Tile<V>& d, const Factors<V> (*a)[kDepth], const Factors<V>* b) {
  constexpr int kTerms = kDepth / 2;  // 4 of TF32, 8 of 16 bits
  Tile<V> before;
  typename V::Bits most[kRowPairs][V::kParts], all = {};
  for (int pair = 0; pair < kRowPairs; ++pair) {
    for (int part = 0; part < V::kParts; ++part) {
      typename V::Sums sum = before[pair][part] = d[pair][part];
      typename V::Bits largest = {};
      add_terms_cut_off<kTerms, V>(sum, largest, a[pair], b, part);
      add_terms_cut_off<kTerms, V>(sum, largest, a[pair] + kTerms, b + kTerms, part);
      d[pair][part] = sum;
      most[pair][part] = largest;
      all = largest > all ? largest : all;
    }
  }
  bool special = false;
  for (int i = 0; i < V::kWidth; ++i) special |= all[i] >= kExponent;
  if (__builtin_expect(!special, 1)) return;
  for (int pair = 0; pair < kRowPairs; ++pair) {
    for (int part = 0; part < V::kParts; ++part) {
      typename V::Sums infinite = before[pair][part];
      for (int k = 0; k < kDepth; ++k) infinite += a[pair][k].of[part] * b[k].of[part];
      d[pair][part] = most[pair][part] >= kExponent ? infinite : d[pair][part];
    }
  }
}

template <MmaInput input, MmaSums sums, typename V>
ALEXNET_INLINE void multiply_tile(const MmaTile* const* lanes) {
  const MmaTile& first = *lanes[0];
  constexpr int kMaxColumnTiles = 32;
  Factors<V> b[kMaxColumnTiles][kDepth<input>];
  for (int n = 0; n < first.n_count; ++n) gather_b<input, V>(lanes, n, b[n]);
  for (int m = 0; m < first.m_count; ++m) {
    Factors<V> a[kRowPairs][kDepth<input>];
    gather_a<input, V>(lanes, m, a);
    for (int n = 0; n < first.n_count; ++n) {
      Tile<V> d;
      const int offset = (m * first.n_count + n) * 4;
      copy<false, V>(lanes, offset, d);
      if constexpr (sums == MmaSums::kExact) {
        add_exact<kDepth<input>, V>(d, a, b[n]);
      } else {
        add_cut_off<kDepth<input>, V>(d, a, b[n]);
      }
      copy<true, V>(lanes, offset, d);
    }
  }
}

// By width, MmaSums and MmaInput. Functions of their own, as templates cannot be compiled twice.
using Multiply = void (*)(const MmaTile* const* lanes);
#define ALEXNET_MULTIPLY(name, input, sums, width, attribute)    \
  attribute void name(const MmaTile* const* lanes) {             \
    multiply_tile<MmaInput::input, MmaSums::sums, width>(lanes); \
  }
#define ALEXNET_MULTIPLY_ALL(table, width, attribute)                             \
  ALEXNET_MULTIPLY(table##_tf32, kTf32, kExact, width, attribute)                 \
  ALEXNET_MULTIPLY(table##_bf16, kBFloat16, kExact, width, attribute)             \
  ALEXNET_MULTIPLY(table##_fp16, kFloat16, kExact, width, attribute)              \
  ALEXNET_MULTIPLY(table##_tf32_cut_off, kTf32, kTruncated, width, attribute)     \
  ALEXNET_MULTIPLY(table##_bf16_cut_off, kBFloat16, kTruncated, width, attribute) \
  ALEXNET_MULTIPLY(table##_fp16_cut_off, kFloat16, kTruncated, width, attribute)  \
  constexpr Multiply table[2][3] = {                                              \
      {table##_tf32, table##_bf16, table##_fp16},                                 \
      {table##_tf32_cut_off, table##_bf16_cut_off, table##_fp16_cut_off},         \
  };
ALEXNET_MULTIPLY_ALL(multiply_avx2, Avx2, ALEXNET_SIMT_CLONES)
#ifdef ALEXNET_SIMT_AVX512
ALEXNET_MULTIPLY_ALL(multiply_avx512, Avx512, ALEXNET_SIMT_AVX512)
const auto& kMultiply = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
                            ? multiply_avx512
                            : multiply_avx2;
#else
constexpr const auto& kMultiply = multiply_avx2;
#endif
#undef ALEXNET_MULTIPLY_ALL
#undef ALEXNET_MULTIPLY

template <MmaInput input>
void perform_mma(void* const* arguments, uint32_t) {
  const MmaTile* lanes[kWarpSize];
  for (unsigned lane = 0; lane < kWarpSize; ++lane) lanes[lane] = static_cast<const MmaTile*>(arguments[lane]);
  kMultiply[static_cast<int>(mma_sums())][static_cast<int>(input)](lanes);
}

// By MmaInput.
constexpr PerformWarpOp kMmaPerformers[3] = {
    &perform_mma<MmaInput::kTf32>,
    &perform_mma<MmaInput::kBFloat16>,
    &perform_mma<MmaInput::kFloat16>,
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
  const PerformWarpOp perform = kMmaPerformers[static_cast<int>(input)];
  warp_rendezvous(WarpOp::kMma, kFullMask, const_cast<MmaTile*>(&tile), perform, site);
}

}  // namespace alexnet::simt
