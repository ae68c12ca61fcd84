/* Rotary positions: from metadata to radians per position. */
#include "arch/build.h"

#include <math.h>

/* YaRN (Peng et al., arXiv 2309.00071, section 3.2): pairs that turn more than beta_fast times within the original
 * context keep their frequency, pairs that turn less than beta_slow times are interpolated, a ramp in between. */
static double yarn_pair(double beta, double n_rot, double base, double n_ctx)
{
	return n_rot * log(n_ctx / (beta * 2 * M_PI)) / (2 * log(base));
}

static void apply_yarn(const struct bt_hparams *hp, struct bt_rope *r)
{
	double lo = floor(yarn_pair(hp->rope.beta_fast, hp->rope.n_rot, hp->rope.base, hp->rope.n_ctx_orig));
	double hi = ceil(yarn_pair(hp->rope.beta_slow, hp->rope.n_rot, hp->rope.base, hp->rope.n_ctx_orig));
	lo = fmax(lo, 0);
	hi = fmin(hi, hp->rope.n_rot - 1.0);
	for (uint32_t i = 0; i < r->n_pairs; i++) {
		double ramp = (i - lo) / fmax(0.001, hi - lo);
		double keep = 1 - fmin(1, fmax(0, ramp));
		r->freq[i] = r->freq[i] / hp->rope.factor * (1 - keep) + r->freq[i] * keep;
	}
	r->magnitude = (float)(hp->rope.attn_factor * (1 + 0.1 * log(hp->rope.factor)));
}

const struct bt_rope *bt_build_rope(struct bt_arch_build *b)
{
	const struct bt_hparams *hp = &b->hp;
	if (b->status || b->rope) return b->rope;
	uint32_t n = hp->rope.n_rot / 2;
	struct bt_rope *r = bt_arena_zalloc(&b->plan->arena, sizeof *r);
	double *freq = bt_arena_zalloc(&b->plan->arena, (n + 1) * sizeof *freq);
	if (!r || !freq) {
		b->status = bt_fail_nomem(b->err, n * sizeof *freq, "rope");
		return NULL;
	}
	*r = (struct bt_rope){.n_pairs = n, .neox = b->family->rope_neox, .magnitude = 1, .freq = freq};
	for (uint32_t i = 0; i < n; i++) freq[i] = pow(hp->rope.base, -2.0 * i / hp->rope.n_rot);
	if (hp->rope.scaling == BT_ROPE_LINEAR)
		for (uint32_t i = 0; i < n; i++) freq[i] /= hp->rope.factor;
	if (hp->rope.scaling == BT_ROPE_YARN) apply_yarn(hp, r);

	/* Llama 3's scaling: the converter has put one divisor per pair into the file. */
	const struct bt_tensor *t = bt_get_tensor(b, BT_NO_LAYER, "rope_freqs.weight", false, n, 0, 0);
	if (b->status) return NULL;
	if (t) {
		float *by = bt_arena_alloc(&b->plan->arena, n * sizeof *by);
		if (!by || !t->data) {
			if (!by) b->status = bt_fail_nomem(b->err, n * sizeof *by, "rope");
			return b->rope = r;
		}
		t->type->unpack(t->data, by, n);
		for (uint32_t i = 0; i < n; i++) freq[i] /= by[i];
	}
	return b->rope = r;
}
