/* support.c: guard zones, comparisons, random data and hostile weights of the kernel walk. */
#include "walk.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256, PATTERN = 0xA5 };

void walk_case(struct walk *w, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(w->what, sizeof w->what, fmt, ap);
	va_end(ap);
	w->cases++;
}

void walk_fail(struct walk *w, const char *fmt, ...)
{
	if (w->failures++ < 20 && !w->quiet) {
		va_list ap;
		va_start(ap, fmt);
		fprintf(stderr, "FAIL %s, %s: ", bt_cpu_level_name(w->k.level), w->what);
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
		va_end(ap);
	}
}

/* A size header, a guard zone, the data, a guard zone. */
void *walk_alloc(size_t size)
{
	size_t total = (GUARD + size + GUARD + 63) / 64 * 64;
	char *p = aligned_alloc(64, total);
	if (!p) {
		fprintf(stderr, "kernel walk: no memory for %zu bytes\n", total);
		exit(2);
	}
	memset(p, PATTERN, total);
	memcpy(p, &size, sizeof size);
	return p + GUARD;
}

void walk_free(struct walk *w, void *data)
{
	unsigned char *p = (unsigned char *)data - GUARD;
	size_t size;
	memcpy(&size, p, sizeof size);
	for (size_t i = sizeof size; i < GUARD; i++)
		if (p[i] != PATTERN) {
			walk_fail(w, "wrote %zu bytes before its output", GUARD - i);
			break;
		}
	for (size_t i = 0; i < GUARD; i++)
		if (p[GUARD + size + i] != PATTERN) {
			walk_fail(w, "wrote past the end of its output, at byte %zu of %zu", size + i, size);
			break;
		}
	free(p);
}

void walk_same_bits(struct walk *w, const float *got, const float *want, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(got + i, want + i, sizeof *got) && !(isnan(got[i]) && isnan(want[i]))) {
			walk_fail(w, "value %zu is %.9g (%a), plain C has %.9g (%a)", i, got[i], got[i], want[i],
			          want[i]);
			return;
		}
}

void walk_same_bytes(struct walk *w, const void *got, const void *want, size_t n)
{
	const unsigned char *a = got, *b = want;
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i]) {
			walk_fail(w, "byte %zu is %d, plain C has %d", i, a[i], b[i]);
			return;
		}
}

void walk_close(struct walk *w, const float *got, const double *want, const double *of, size_t n, double unit)
{
	w->oracle_cases++;
	for (size_t i = 0; i < n; i++) {
		double err = fabs(got[i] - want[i]);
		if (!(err <= unit * of[i] + 1e-37)) {
			walk_fail(w, "value %zu is %.9g, double precision has %.17g: off by %.3g, %.3g allowed", i,
			          got[i], want[i], err, unit * of[i]);
			return;
		}
	}
}

uint64_t walk_random(struct walk *w) /* splitmix64, Steele et al. 2014 */
{
	uint64_t z = w->rng += 0x9E3779B97F4A7C15;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
	z = (z ^ z >> 27) * 0x94D049BB133111EB;
	return z ^ z >> 31;
}

float walk_normal(struct walk *w)
{
	float sum = 0; /* of 4 uniforms in -1..1: variance 4/3 */
	for (uint64_t r = walk_random(w), i = 0; i < 4; i++, r >>= 16) sum += (float)(r & 65535) / 32767.5f - 1.0f;
	return sum * 0.866f;
}

const char *walk_pattern_name(enum walk_pattern p)
{
	static const char *const names[WALK_PATTERNS] = {"random", "extreme", "outliers", "zero", "tiny", "one sign"};
	return names[p];
}

void walk_fill(struct walk *w, enum walk_pattern p, float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t r = walk_random(w);
		switch (p) {
		case WALK_EXTREME: x[i] = r & 1 ? 3.0f : -3.0f; break;
		case WALK_OUTLIERS: x[i] = walk_normal(w) * (r % 61 == 0 ? 3000.0f : 1.0f); break;
		case WALK_ZERO: x[i] = r & 1 ? 0.0f : -0.0f; break;
		case WALK_TINY: x[i] = walk_normal(w) * (r & 32 ? 1e-39f : 1e-33f); break;
		case WALK_ONE_SIGN: x[i] = -2.0f; break;
		default: x[i] = walk_normal(w); break;
		}
	}
}

/* Scales or minima of a block that are not finite or too large for sums to stay finite. */
static unsigned bad_scales(const struct bt_type *t, const void *block)
{
	int8_t q[256];
	float scale[16], min[16] = {0};
	unsigned bad = 0;
	t->unpack_i8(block, q, scale, t->has_min ? min : NULL, t->block);
	for (unsigned g = 0; g < t->block / t->group; g++) {
		bad += !(fabsf(scale[g]) < 1e6f);
		bad += !(fabsf(min[g]) < 1e6f);
	}
	return bad;
}

static bool constant_block(const struct bt_type *t, unsigned char byte, unsigned char *b)
{
	memset(b, byte, t->bytes);
	/* put a plausible binary16 (0.03, or -0.03) wherever that repairs scales */
	for (unsigned at = 0, bad; at + 1 < t->bytes && (bad = bad_scales(t, b)); at++) {
		unsigned char keep[2] = {b[at], b[at + 1]};
		b[at] = 0xAE;
		b[at + 1] = byte & 1 ? 0x27 : 0xA7;
		if (bad_scales(t, b) >= bad) memcpy(b + at, keep, 2);
	}
	return bad_scales(t, b) == 0;
}

static bool random_block(struct walk *w, const struct bt_type *t, unsigned char *b)
{
	for (int tries = 0; tries < 1000; tries++) {
		for (unsigned i = 0; i < t->bytes; i++) b[i] = (unsigned char)walk_random(w);
		if (!bad_scales(t, b)) return true;
	}
	return false;
}

bool walk_weights(struct walk *w, const struct bt_type *t, enum walk_pattern p, void *dst, size_t n)
{
	unsigned char *b = dst;
	if (!t->group) {
		float x[256];
		for (size_t i = 0; i < n; i += 256) {
			size_t len = n - i < 256 ? n - i : 256;
			walk_fill(w, p, x, len);
			t->pack(x, b + i * t->bytes, len, NULL);
		}
		return true;
	}
	static const unsigned char bytes[] = {0xFF, 0x00, 0x80, 0x7F};
	for (size_t i = 0; i < n / t->block; i++, b += t->bytes) {
		float x[256];
		if (p == WALK_EXTREME) {
			if (!constant_block(t, bytes[(walk_random(w) >> 8) % 4], b)) return false;
		} else if (p == WALK_RANDOM && t->pack) {
			walk_fill(w, p, x, t->block);
			t->pack(x, b, t->block, NULL);
		} else if (!random_block(w, t, b)) {
			return false;
		}
	}
	return true;
}
