/* tolerance.c: how far plain C may be from double precision. A tolerance belongs to (operation, number format) and has a
 * reason; e is half a unit in the last place of a float, 2^-24. The magnitude is the sum of the terms' magnitudes. */
#include "walk.h"

#define E 0x1p-24

double walk_tolerance(enum walk_op op, const struct bt_type *type, size_t n)
{
	size_t blocks = n / 32;
	switch (op) {
	case WALK_MATMUL:
		/* integers: sums in a block are exact; a term has at most 6 roundings (two scales, two minima, dx), a lane
		 * adds blocks / 8 of them, then 3 steps of the tree. floats: a lane adds n / 16 products with one rounding
		 * each, then 4 steps. */
		return type && type->group ? E * (double)(blocks / 8 + 1 + 6 + 3) : E * (double)(n / 16 + 1 + 4);
	case WALK_QUANTIZE:
		/* half a step of the 8-bit scale, a little more for the rounding of x * (127 / max) */
		return 0.5 + 127 * 3 * E;
	case WALK_NORM:
		/* sum of squares as for floats, halved by the root; division, root, two products */
		return E * ((double)(n / 16 + 1 + 4) / 2 + 5);
	case WALK_ADD:
	case WALK_RELU2: return E;
	case WALK_SILU:
		/* exp is within 2.2 e of its value; sum, division, product round once each; where 1 + exp(-g) is large the error
		 * of exp is not damped. Above 88 and below -87 exp is clamped: |g| e^-87 is below 1e-35. */
		return E * 6;
	case WALK_SIGMOID:
		/* exp, sum, division, product as above */
		return E * 6;
	case WALK_CONV:
		/* one rounding for each tap, then silu */
		return E * ((double)n + 6);
	case WALK_RECURRENCE:
		/* n: roundings that a value can have gone through: at each row its decay, its update and the error that enters it
		 * (some 16, relative to sums of magnitudes), and one for each term of the last sum */
		return E * (double)n;
	case WALK_ROPE: return E * 2;
	case WALK_SOFTMAX:
		/* x - max rounds: |x - max| <= 87 gives 87 e; exp 2.2 e; the sum as for floats; division and product */
		return E * (87 + 3 + (double)(n / 16 + 1 + 4) + 2);
	case WALK_ATTN:
		/* an error of the scores enters the numerator and the sum; the case counts the roundings (walk_attn.c) */
		return E * 2;
	default: return 0;
	}
}
