/* grids.h: the codebooks that several types share. */
#ifndef BT_QUANT_GRIDS_H
#define BT_QUANT_GRIDS_H

#include <stdint.h>

extern const uint8_t bt_iq2_xxs_grid[256][8]; /* magnitudes 8, 25, 43 */
extern const uint8_t bt_iq2_xs_grid[512][8];
extern const uint8_t bt_iq2_s_grid[1024][8];
extern const uint8_t bt_iq3_xxs_grid[256][4]; /* magnitudes 4, 12, .. 52, 62 */
extern const uint8_t bt_iq3_s_grid[512][4];   /* magnitudes 1, 3, .. 15 */
extern const int8_t bt_iq1_grid[2048][8];     /* -1, 0, 1 */
extern const int8_t bt_iq4_values[16];        /* IQ4_NL and IQ4_XS, ascending */
extern const int8_t bt_mxfp4_values[16];      /* twice the values of OCP's E2M1 */

/* The index of one of bt_iq4_values. */
static inline int bt_iq4_index(int level)
{
	int i = 0;
	while (bt_iq4_values[i] < level) i++;
	return i;
}

/* Signs of eight values from 7 bits: the eighth makes the number of minus signs even (ggml's ksigns_iq2xs). */
static inline uint32_t bt_iq_signs(uint32_t bits7)
{
	return bits7 | (uint32_t)__builtin_parity(bits7) << 7;
}

/* q[i] = grid[i], negated where bit i of signs is set. */
static inline void bt_iq_apply(const uint8_t *grid, uint32_t signs, int8_t *q, int n)
{
	for (int i = 0; i < n; i++) q[i] = (int8_t)((signs >> i & 1) ? -grid[i] : grid[i]);
}

#endif
