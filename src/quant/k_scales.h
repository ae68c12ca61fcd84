/* k_scales.h: the eight 6-bit scales and minima of Q4_K and Q5_K in 12 bytes.
 *
 * For j < 4: low 6 bits of byte j are scale j, of byte 4 + j minimum j. For j >= 4 byte 4 + j has the low 4 bits of scale
 * (low nibble) and minimum (high nibble), and the top 2 bits of bytes j - 4 and j are their high bits.
 * Source: get_scale_min_k4 of ggml's ggml-quants.c.
 */
#ifndef BT_QUANT_K_SCALES_H
#define BT_QUANT_K_SCALES_H

#include "base/half.h"

static inline void bt_k_scale_min(const uint8_t s[12], int j, int *sc, int *m)
{
	if (j < 4) {
		*sc = s[j] & 63;
		*m = s[j + 4] & 63;
	} else {
		*sc = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
		*m = s[j + 4] >> 4 | s[j] >> 6 << 4;
	}
}

/* The other way; s is zeroed by the caller. */
static inline void bt_k_put_scale_min(uint8_t s[12], int j, int sc, int m)
{
	if (j < 4) {
		s[j] |= (uint8_t)sc;
		s[j + 4] |= (uint8_t)m;
	} else {
		s[j + 4] = (uint8_t)((sc & 15) | (m & 15) << 4);
		s[j - 4] |= (uint8_t)(sc >> 4 << 6);
		s[j] |= (uint8_t)(m >> 4 << 6);
	}
}

/* Scales and minima of a block as floats, appended at *scale and *min. */
static inline void bt_k_scales(uint16_t d16, uint16_t dmin16, const uint8_t s[12], float **scale, float **min)
{
	float d = bt_f16_to_f32(d16), dmin = bt_f16_to_f32(dmin16);
	for (int j = 0; j < 8; j++) {
		int sc, m;
		bt_k_scale_min(s, j, &sc, &m);
		*(*scale)++ = d * (float)sc;
		*(*min)++ = -(dmin * (float)m);
	}
}

#endif
