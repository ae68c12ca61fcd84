/* sample_dry.c: DRY ("don't repeat yourself"), against sequences that occur again.
 *
 * Definition: p-e-w's proposal (text-generation-webui, pull request 5677) in the form of koboldcpp and llama.cpp: find
 * how many of the latest tokens stand in the same order earlier in the context; the token that followed there gets
 * multiplier * base ^ (length - allowed_length) subtracted. A breaker (newline, quote...) ends such a sequence. llama.cpp
 * looks for breakers token by token; here they are looked for in the text, which also finds those that span tokens.
 */
#include "engine/sample_impl.h"

#include <math.h>
#include <string.h>

/* Whether a breaker occurs in the len bytes of text and ends behind the first `old` of them. */
static bool has_breaker(const struct bt_sampler *s, const char *text, size_t len, size_t old)
{
	for (size_t i = 0; i < s->p.n_dry_breakers; i++) {
		size_t n = strlen(s->breakers[i]), from = old >= n ? old - n + 1 : 0;
		if (len >= n && memmem(text + from, len - from, s->breakers[i], n)) return true;
	}
	return false;
}

void bt_sample_dry_accept(struct bt_sampler *s, int32_t token, uint8_t *breaks)
{
	char text[BT_SAMPLE_BREAKER_BYTES + BT_SAMPLE_PIECE_BYTES];
	if (!s->piece || token < 0 || (uint32_t)token >= s->n_vocab) return;
	memcpy(text, s->tail, s->n_tail);
	size_t len = s->piece(s->piece_user, token, text + s->n_tail, BT_SAMPLE_PIECE_BYTES);
	len = s->n_tail + (len < BT_SAMPLE_PIECE_BYTES ? len : BT_SAMPLE_PIECE_BYTES);
	*breaks = has_breaker(s, text, len, s->n_tail);
	s->n_tail = len < sizeof s->tail - 1 ? len : sizeof s->tail - 1;
	memcpy(s->tail, text + len - s->n_tail, s->n_tail);
}

/* A token that is (or holds) a breaker is never penalised. */
static bool is_breaker(const struct bt_sampler *s, int32_t token)
{
	char text[BT_SAMPLE_PIECE_BYTES];
	if (!s->piece) return false;
	size_t len = s->piece(s->piece_user, token, text, sizeof text);
	return has_breaker(s, text, len < sizeof text ? len : sizeof text, 0);
}

/* match[i]: how many tokens, going back from the i-th newest, are those that one finds going back from the newest: the
 * Z function of the reversed history (Gusfield, "Algorithms on strings, trees and sequences", section 1.4). */
static void match_backwards(struct bt_sampler *s, uint32_t n)
{
	uint32_t *z = s->match, left = 0, right = 0;
	z[0] = n;
	for (uint32_t i = 1; i < n; i++) {
		uint32_t m = 0;
		if (i < right) m = right - i < z[i - left] ? right - i : z[i - left];
		while (i + m < n && bt_sampler_recent(s, m) == bt_sampler_recent(s, i + m)) m++;
		z[i] = m;
		if (i + m > right) {
			left = i;
			right = i + m;
		}
	}
}

static void punish(struct bt_sampler *s, int32_t id, uint32_t length)
{
	if (is_breaker(s, id)) return;
	double penalty = (double)s->p.dry_multiplier *
	                 pow((double)s->p.dry_base, (double)length - (double)s->p.dry_allowed_length);
	double l = (double)bt_sample_clamp(s->logits[id]) - penalty;
	if (s->logits[id] > -INFINITY) s->logits[id] = l < -(double)FLT_MAX ? -FLT_MAX : (float)l;
}

void bt_sample_dry(struct bt_sampler *s)
{
	uint32_t n = bt_sampler_known(s, s->dry_n), allowed = (uint32_t)s->p.dry_allowed_length, limit = 0,
		 n_touched = 0;
	if (n <= allowed) return;
	while (limit < n && !bt_sampler_recent_breaks(s, limit)) limit++; /* no sequence reaches across a breaker */
	if (limit < allowed) return;
	match_backwards(s, n);
	for (uint32_t i = 1; i < n; i++) {
		uint32_t length = s->match[i] < limit ? s->match[i] : limit;
		int32_t next = bt_sampler_recent(s, i - 1);
		if (length < allowed || next < 0 || (uint32_t)next >= s->n_vocab) continue;
		/* length + 1, so that 0 means "not seen yet". */
		if (!s->count[next]) s->touched[n_touched++] = next;
		if (s->count[next] < length + 1) s->count[next] = length + 1;
	}
	for (uint32_t i = 0; i < n_touched; i++) {
		punish(s, s->touched[i], s->count[s->touched[i]] - 1);
		s->count[s->touched[i]] = 0;
	}
}
