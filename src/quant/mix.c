/* mix.c: the table of mixes and their rules (see mix.h). */
#include "quant/mix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum mix {
	F32,
	F16,
	BF16,
	Q4_0,
	Q4_1,
	Q5_0,
	Q5_1,
	Q8_0,
	Q2_K,
	Q3_K_S,
	Q3_K_M,
	Q3_K_L,
	Q4_K_S,
	Q4_K_M,
	Q5_K_S,
	Q5_K_M,
	Q6_K,
	IQ4_NL,
	IQ4_XS,
	TQ1_0,
	TQ2_0,
	MXFP4_MOE,
	COPY,
	N_MIXES
};

#define MIX(m, number, weights, text) [m] = {.name = #m, .file_type = number, .type = BT_TYPE_##weights, .about = text}
#define MIX_ALIAS(m, short_name, number, weights, text) \
	[m] = {.name = #m, .alias = short_name, .file_type = number, .type = BT_TYPE_##weights, .about = text}

const struct bt_mix bt_mix_table[N_MIXES + 1] = {
	MIX(F32, 0, F32, "32 bits, unrounded"),
	MIX(F16, 1, F16, "16 bits, of binary16"),
	MIX(BF16, 32, BF16, "16 bits, the range of 32"),
	MIX(Q8_0, 7, Q8_0, "8.5 bits, all but the original's answers"),
	MIX(Q6_K, 18, Q6_K, "6.6 bits, very close to the original"),
	MIX_ALIAS(Q5_K_M, "Q5_K", 17, Q5_K, "5.7 bits, close"),
	MIX(Q5_K_S, 16, Q5_K, "5.5 bits"),
	MIX(Q5_1, 9, Q5_1, "6 bits, of the older kind"),
	MIX(Q5_0, 8, Q5_0, "5.5 bits, of the older kind"),
	MIX_ALIAS(Q4_K_M, "Q4_K", 15, Q4_K, "4.8 bits, the usual choice"),
	MIX(Q4_K_S, 14, Q4_K, "4.6 bits"),
	MIX(Q4_1, 3, Q4_1, "5 bits, of the older kind"),
	MIX(Q4_0, 2, Q4_0, "4.5 bits, of the older kind; fast on small machines"),
	MIX(IQ4_NL, 25, IQ4_NL, "4.5 bits, uneven levels"),
	MIX(IQ4_XS, 30, IQ4_XS, "4.25 bits, uneven levels"),
	MIX(Q3_K_L, 13, Q3_K, "4.3 bits"),
	MIX_ALIAS(Q3_K_M, "Q3_K", 12, Q3_K, "3.9 bits, a loss that shows"),
	MIX(Q3_K_S, 11, Q3_K, "3.5 bits, a loss that shows"),
	MIX(Q2_K, 10, Q2_K, "3 bits, a large loss"),
	MIX(TQ2_0, 37, TQ2_0, "2.1 bits, for models trained with three-valued weights"),
	MIX(TQ1_0, 36, TQ1_0, "1.7 bits, the same"),
	MIX(MXFP4_MOE, 38, MXFP4, "experts in MXFP4, the rest in Q8_0"),
	[COPY] = {.name = "COPY", .copy = true, .about = "every tensor as it is; joins a split model"},
	{.name = NULL},
};

const struct bt_mix *bt_mix_by_name(const char *name)
{
	char number[16];
	for (const struct bt_mix *m = bt_mix_table; m->name; m++) {
		snprintf(number, sizeof number, "%u", m->file_type);
		if (!strcasecmp(m->name, name) || (m->alias && !strcasecmp(m->alias, name))) return m;
		if (!m->copy && !strcmp(number, name)) return m; /* as llama-quantize takes them */
	}
	return NULL;
}

enum role { OTHER, OUTPUT, EMBEDDING, ATTN_V, ATTN_K, ATTN_OUTPUT, FFN_DOWN };

/* By a part of the name; the first that fits. Keys and values in one tensor count as values. */
static const struct {
	const char *part;
	enum role role;
} roles[] = {
	{"attn_qkv.weight", ATTN_V}, {"attn_kv_b.weight", ATTN_V},        {"attn_v.weight", ATTN_V},
	{"attn_k.weight", ATTN_K},   {"attn_output.weight", ATTN_OUTPUT}, {"ffn_down", FFN_DOWN},
};

static enum role role_of(const char *name)
{
	if (!strcmp(name, "output.weight")) return OUTPUT;
	if (!strcmp(name, "token_embd.weight") || !strcmp(name, "per_layer_token_embd.weight")) return EMBEDDING;
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
		if (strstr(name, roles[i].part)) return roles[i].role;
	return OTHER;
}

/* Weights that stay as they are: small, or read by code that wants floats. */
static const char *const kept[] = {
	"_norm.weight",
	"ffn_gate_inp.weight",
	"ffn_gate_tid2eid.weight",
	"ssm_conv1d",
	"shortconv.conv.weight",
	"altup",
	"laurel",
	"per_layer_model_proj",
	"indexer.k_proj.weight",
	"indexer.q_proj.weight",
	"time_mix_first.weight",
	"time_mix_w0.weight",
	"time_mix_w1.weight",
	"time_mix_w2.weight",
	"time_mix_v0.weight",
	"time_mix_v1.weight",
	"time_mix_v2.weight",
	"time_mix_a0.weight",
	"time_mix_a1.weight",
	"time_mix_a2.weight",
	"time_mix_g1.weight",
	"time_mix_g2.weight",
	"time_mix_decay_w1.weight",
	"time_mix_decay_w2.weight",
	"time_mix_lerp_fused.weight",
	"attn_rel_b.weight",
	".position_embd",
	"sam.pos_embd",
	"sam.neck.",
	"sam.net_",
	".rel_pos",
	".patch_embd",
	".patch_merger",
	"a.rvq.codebook",
	"mm.a.code_embd",
};

static bool stays(const struct bt_mix_state *s, const char *name, const uint64_t dim[4])
{
	size_t len = strlen(name);
	if (s->params.mix->copy || (dim[1] == 1 && dim[2] == 1 && dim[3] == 1)) return true;
	if (len < 6 || strcmp(name + len - 6, "weight")) return true;
	if (!strcmp(name, "position_embd.weight") || !strcmp(name, "token_types.weight")) return true;
	if (s->params.leave_output && !strcmp(name, "output.weight")) return true;
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (strstr(name, kept[i])) return true;
	return false;
}

enum when {
	ALWAYS,
	EXPERTS_8, /* eight experts: attention is a small part of the model */
	LLAMA_70B, /* eight query heads share a value head there: more bits cost little */
	GQA_4,     /* four or more query heads share a value head */
	MORE_BITS, /* the first and last eighth of the layers, and every third between */
	FIRST_2,
	FIRST_4,
	FIRST_8TH,
	FIRST_16TH,
};

struct rule {
	uint32_t mixes; /* M(...) of each */
	enum role role;
	enum when when;
	enum bt_type_id type;
};

#define M(m)  (1u << (m))
#define IQ4   (M(IQ4_NL) | M(IQ4_XS))
#define EVERY (~0u)

/* The first rule that fits gives the type; without one it is the mix's own. */
static const struct rule rules[] = {
	{M(MXFP4_MOE) | M(Q8_0), OUTPUT, ALWAYS, BT_TYPE_Q8_0},
	{EVERY, OUTPUT, ALWAYS, BT_TYPE_Q6_K},
	{M(TQ1_0) | M(TQ2_0), EMBEDDING, ALWAYS, BT_TYPE_Q4_K},

	{EVERY, ATTN_V, EXPERTS_8, BT_TYPE_Q8_0},
	{M(Q2_K) | M(Q3_K_S) | M(Q3_K_M) | M(Q4_K_S), ATTN_V, LLAMA_70B, BT_TYPE_Q5_K},
	{M(Q2_K), ATTN_V, GQA_4, BT_TYPE_Q4_K},
	{M(Q2_K), ATTN_V, ALWAYS, BT_TYPE_Q3_K},
	{M(Q3_K_M), ATTN_V, FIRST_2, BT_TYPE_Q5_K},
	{M(Q3_K_M), ATTN_V, ALWAYS, BT_TYPE_Q4_K},
	{M(Q3_K_L), ATTN_V, ALWAYS, BT_TYPE_Q5_K},
	{M(Q4_K_S), ATTN_V, FIRST_4, BT_TYPE_Q5_K},
	{M(Q4_K_M) | M(Q5_K_M), ATTN_V, MORE_BITS, BT_TYPE_Q6_K},
	{M(Q4_K_M), ATTN_V, LLAMA_70B, BT_TYPE_Q5_K},
	{IQ4, ATTN_V, GQA_4, BT_TYPE_Q5_K},

	{EVERY, ATTN_K, EXPERTS_8, BT_TYPE_Q8_0},

	{M(Q2_K) | M(Q3_K_S) | M(Q3_K_M) | M(Q4_K_S) | M(Q4_K_M) | IQ4, ATTN_OUTPUT, EXPERTS_8, BT_TYPE_Q5_K},
	{M(Q3_K_L), ATTN_OUTPUT, EXPERTS_8, BT_TYPE_Q3_K},
	{M(Q2_K), ATTN_OUTPUT, ALWAYS, BT_TYPE_Q3_K},
	{M(Q3_K_M), ATTN_OUTPUT, ALWAYS, BT_TYPE_Q4_K},
	{M(Q3_K_L), ATTN_OUTPUT, ALWAYS, BT_TYPE_Q5_K},

	{M(Q2_K), FFN_DOWN, ALWAYS, BT_TYPE_Q3_K},
	{M(Q3_K_M), FFN_DOWN, FIRST_16TH, BT_TYPE_Q5_K},
	{M(Q3_K_M), FFN_DOWN, ALWAYS, BT_TYPE_Q4_K},
	{M(Q3_K_L), FFN_DOWN, ALWAYS, BT_TYPE_Q5_K},
	{M(Q4_K_S), FFN_DOWN, FIRST_8TH, BT_TYPE_Q5_K},
	{M(Q4_K_M) | M(Q5_K_M), FFN_DOWN, MORE_BITS, BT_TYPE_Q6_K},
	{IQ4, FFN_DOWN, FIRST_8TH, BT_TYPE_Q5_K},
};

/* i of n: the tensor's place among those of its role. */
static bool applies(enum when when, const struct bt_mix_model *m, uint32_t i, uint32_t n)
{
	switch (when) {
	case ALWAYS: return true;
	case EXPERTS_8: return m->n_expert == 8;
	case LLAMA_70B: return m->llama_70b;
	case GQA_4: return m->n_gqa >= 4;
	case MORE_BITS: return i < n / 8 || i >= 7 * (uint64_t)n / 8 || (i - n / 8) % 3 == 2;
	case FIRST_2: return i < 2;
	case FIRST_4: return i < 4;
	case FIRST_8TH: return i < n / 8;
	case FIRST_16TH: return i < n / 16;
	}
	return false;
}

int bt_mix_layer(const char *name)
{
	char *end;
	if (strncmp(name, "blk.", 4)) return -1;
	unsigned long layer = strtoul(name + 4, &end, 10);
	return end > name + 4 && *end == '.' && layer < 1u << 20 ? (int)layer : -1;
}

void bt_mix_show(struct bt_mix_state *s, const char *name)
{
	enum role role = role_of(name);
	s->has_output |= role == OUTPUT;
	s->n_attn_v += role == ATTN_V;
}

static enum bt_type_id type_by_rules(struct bt_mix_state *s, const char *name, enum role role, const uint64_t dim[4])
{
	uint32_t i = 0, n = 0, bit = M(s->params.mix - bt_mix_table);
	if (role == EMBEDDING && !s->has_output) role = OUTPUT; /* the embedding is the output matrix as well */
	if (role == ATTN_V) {
		i = s->i_attn_v++;
		n = s->n_attn_v;
	} else if (role == FFN_DOWN) {
		/* with experts there may be several of them in a layer */
		int layer = bt_mix_layer(name);
		i = s->i_ffn_down++;
		n = s->model.n_layer;
		if (s->model.n_expert > 1 && layer >= 0) i = (uint32_t)layer;
	}
	if (bit == M(MXFP4_MOE) && role != OUTPUT) return dim[2] > 1 ? BT_TYPE_MXFP4 : BT_TYPE_Q8_0;
	for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
		if (rules[r].mixes & bit && rules[r].role == role && applies(rules[r].when, &s->model, i, n))
			return rules[r].type;
	return s->params.mix->type;
}

/* For rows that are no multiple of 256: a type of nearly as many bits with blocks of 32. */
static const enum bt_type_id smaller_block[BT_TYPE_COUNT] = {
	[BT_TYPE_Q2_K] = BT_TYPE_Q4_0,  [BT_TYPE_Q3_K] = BT_TYPE_Q4_0,  [BT_TYPE_Q4_K] = BT_TYPE_Q5_0,
	[BT_TYPE_Q5_K] = BT_TYPE_Q5_1,  [BT_TYPE_Q6_K] = BT_TYPE_Q8_0,  [BT_TYPE_IQ4_XS] = BT_TYPE_IQ4_NL,
	[BT_TYPE_TQ1_0] = BT_TYPE_Q4_0, [BT_TYPE_TQ2_0] = BT_TYPE_Q4_0,
};

const struct bt_type *bt_mix_type(struct bt_mix_state *s, const char *name, const uint64_t dim[4],
                                  const struct bt_type *now, const struct bt_type **wanted)
{
	const struct bt_mix_params *p = &s->params;
	const struct bt_type *type = bt_type_get(p->mix->type);
	enum role role = role_of(name);
	if (wanted) *wanted = now;
	if (stays(s, name, dim)) return now;
	if (role == EMBEDDING && p->embedding) type = p->embedding;
	else if (p->output && (role == OUTPUT || (role == EMBEDDING && !s->has_output && type->group && !p->pure)))
		type = p->output;
	else if (type->group && !p->pure) type = bt_type_get(type_by_rules(s, name, role, dim));
	if (wanted) *wanted = type;
	if (dim[0] % type->block && smaller_block[type->id]) type = bt_type_get(smaller_block[type->id]);
	return dim[0] % type->block ? bt_type_get(BT_TYPE_F16) : type;
}
