/* half.h: IEEE binary16 and bfloat16 to and from float, bit-exact on every machine.
 *
 * Reference conversions: round to nearest even, subnormals kept, NaN stays NaN. The CPU back end has vector forms.
 * Format: IEEE 754-2008 binary16; bfloat16 is the upper half of binary32.
 */
#ifndef BT_BASE_HALF_H
#define BT_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float bt_float_from_bits(uint32_t u)
{
	float f;
	memcpy(&f, &u, sizeof f);
	return f;
}

static inline uint32_t bt_bits_from_float(float f)
{
	uint32_t u;
	memcpy(&u, &f, sizeof u);
	return u;
}

static inline float bt_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 1023;
	if (exp == 0) { /* zero and subnormals: man * 2^-24 is exact in float */
		float f = (float)man * 0x1p-24f;
		return bt_float_from_bits(bt_bits_from_float(f) | sign);
	}
	if (exp == 31) return bt_float_from_bits(sign | 0x7F800000 | man << 13);
	return bt_float_from_bits(sign | (exp + 112) << 23 | man << 13);
}

static inline uint16_t bt_f32_to_f16(float f)
{
	uint32_t u = bt_bits_from_float(f), sign = u >> 16 & 0x8000, abs = u & 0x7FFFFFFF;
	if (abs > 0x7F800000) return (uint16_t)(sign | 0x7E00);  /* NaN */
	if (abs >= 0x47800000) return (uint16_t)(sign | 0x7C00); /* 65536 and above, infinity */
	if (abs < 0x38800000) {
		/* below 2^-14: adding 0.5 lets the float adder round at the last bit of the subnormal */
		float r = bt_float_from_bits(abs) + 0.5f;
		return (uint16_t)(sign | (bt_bits_from_float(r) - 0x3F000000));
	}
	/* rebias by -112, round to nearest even; may carry to infinity */
	uint32_t r = abs + 0xC8000FFF + (abs >> 13 & 1);
	return (uint16_t)(sign | r >> 13);
}

static inline float bt_bf16_to_f32(uint16_t h)
{
	return bt_float_from_bits((uint32_t)h << 16);
}

static inline uint16_t bt_f32_to_bf16(float f)
{
	uint32_t u = bt_bits_from_float(f);
	if ((u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(u >> 16 | 64);
	return (uint16_t)((u + (0x7FFF + (u >> 16 & 1))) >> 16);
}

#endif
