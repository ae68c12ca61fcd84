/* generate.h: a model, a session and a sampler that write text; what `run` and `chat` share. */
#ifndef BT_TOOLS_GENERATE_H
#define BT_TOOLS_GENERATE_H

#include "base/buf.h"
#include "base/limits.h"
#include "engine/sample.h"
#include "tools/open.h"

/* Time and tokens of one of the two phases. */
struct bt_gen_phase {
	size_t tokens;
	double seconds;
};

struct bt_generator {
	const struct bt_opts *o;
	struct baton_model *model;
	struct baton_session *session;
	struct bt_sampler *sampler;
	struct baton_session_info info;
	uint64_t seed;
	struct baton_logit_bias *bias; /* -l and --ignore-eos */
	size_t n_bias;
	struct baton_input *input; /* [info.n_batch] */
	struct bt_tokens tokens;   /* what stands in the session */
	struct bt_gen_phase prompt, answer;
	double began;       /* when the program began, */
	double loaded;      /* when the model was open, */
	double first_token; /* when the first token came out; 0: not yet */
};

/* Why an answer ended. */
enum bt_gen_end { BT_GEN_END_MODEL, BT_GEN_END_LENGTH, BT_GEN_END_CONTEXT, BT_GEN_END_INTERRUPTED };

/* Open model, session and sampler from the options. Prints its errors; returns an exit status. Pair with
 * bt_gen_close, also after errors. */
int bt_gen_open(struct bt_generator *g, const struct bt_opts *o);
void bt_gen_close(struct bt_generator *g);

/* Make the session hold exactly these ids: what it holds already of them is kept, the rest computed. Leaves the logits of
 * the last one. BATON_ERR_LIMIT when they do not fit into the context, BATON_ERR_CANCELLED after Ctrl-C. */
enum baton_status bt_gen_prompt(struct bt_generator *g, const int32_t *ids, size_t n, struct baton_error *err);

/* Write an answer behind what the session holds: at most n_max tokens (-1: no limit). Each piece of text goes to out as
 * whole characters; all of it is appended to text (may be NULL). */
enum baton_status bt_gen_answer(struct bt_generator *g, int64_t n_max, FILE *out, struct bt_buf *text,
                                enum bt_gen_end *end, struct baton_error *err);

/* Speed and memory, on stderr. */
void bt_gen_print_stats(const struct bt_generator *g);

#endif
