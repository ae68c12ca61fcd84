#include "tools/kld.h"

#include "base/limits.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'_', 'l', 'o', 'g', 'i', 't', 's', '_'};

static enum baton_status cannot(const char *what, const char *name, FILE *f, struct baton_error *err)
{
	return bt_fail(err, BATON_ERR_IO, "cannot %s %.200s: %s", what, name,
	               ferror(f) ? strerror(errno) : "the file ends too early");
}

enum baton_status bt_kld_write_head(FILE *f, const struct bt_kld_head *head, const int32_t *tokens, const char *name,
                                    struct baton_error *err)
{
	size_t n = (size_t)head->n_chunk * (size_t)head->n_ctx;
	if (fwrite(magic, sizeof magic, 1, f) != 1 || fwrite(&head->n_ctx, 4, 1, f) != 1 ||
	    fwrite(&head->n_vocab, 4, 1, f) != 1 || fwrite(&head->n_chunk, 4, 1, f) != 1 ||
	    fwrite(tokens, 4, n, f) != n)
		return cannot("write", name, f, err);
	return BATON_OK;
}

/* The file must be as long as it says before its sizes are believed. */
static enum baton_status check_length(FILE *f, const struct bt_kld_head *head, const char *name,
                                      struct baton_error *err)
{
	off_t here = ftello(f), end;
	size_t chunks = (size_t)head->n_chunk, rows = chunks * (size_t)bt_kld_scored(head->n_ctx), want;
	if (here < 0 || fseeko(f, 0, SEEK_END) || (end = ftello(f)) < 0 || fseeko(f, here, SEEK_SET))
		return cannot("read", name, f, err);
	if (!bt_mul_size(rows, bt_kld_row_words(head->n_vocab) * 2, &want) ||
	    !bt_add_size(want, chunks * (size_t)head->n_ctx * 4, &want) || (size_t)(end - here) < want)
		return bt_fail(err, BATON_ERR_FORMAT,
		               "%.200s: its %lld bytes are fewer than are needed for %d windows of %d tokens", name,
		               (long long)end, head->n_chunk, head->n_ctx);
	return BATON_OK;
}

enum baton_status bt_kld_read_head(FILE *f, struct bt_kld_head *head, int32_t **tokens, const char *name,
                                   struct baton_error *err)
{
	char got[sizeof magic];
	*tokens = NULL;
	if (fread(got, sizeof got, 1, f) != 1 || fread(&head->n_ctx, 4, 1, f) != 1 ||
	    fread(&head->n_vocab, 4, 1, f) != 1 || fread(&head->n_chunk, 4, 1, f) != 1)
		return cannot("read", name, f, err);
	if (memcmp(got, magic, sizeof magic))
		return bt_fail(err, BATON_ERR_FORMAT, "%.200s: not a file of --kl-divergence-base", name);
	if (head->n_ctx < 4 || (uint32_t)head->n_ctx > BT_LIMIT_CONTEXT || head->n_vocab < 1 ||
	    (uint32_t)head->n_vocab > BT_LIMIT_VOCAB || head->n_chunk < 1)
		return bt_fail(err, BATON_ERR_FORMAT,
		               "%.200s: impossible sizes: windows of %d tokens, vocabulary %d, %d windows", name,
		               head->n_ctx, head->n_vocab, head->n_chunk);
	enum baton_status st = check_length(f, head, name, err);
	if (st) return st;
	size_t n = (size_t)head->n_chunk * (size_t)head->n_ctx;
	*tokens = bt_mem_array(BT_MEM_HOST, n, sizeof **tokens);
	if (!*tokens) return bt_fail_nomem(err, n * 4, "the tokens");
	if (fread(*tokens, 4, n, f) != n) return cannot("read", name, f, err);
	for (size_t i = 0; i < n; i++)
		if ((*tokens)[i] < 0 || (*tokens)[i] >= head->n_vocab)
			return bt_fail(err, BATON_ERR_FORMAT, "%.200s: token %d is not in a vocabulary of %d", name,
			               (*tokens)[i], head->n_vocab);
	return BATON_OK;
}

/* The largest logit, its token, and log(sum(exp(logit - largest))). */
static float largest(const float *logits, int n_vocab, int *at, float *log_sum)
{
	float max = logits[0];
	double sum = 0;
	*at = 0;
	for (int i = 1; i < n_vocab; i++) {
		if (logits[i] <= max) continue;
		max = logits[i];
		*at = i;
	}
	for (int i = 0; i < n_vocab; i++) sum += (double)expf(logits[i] - max);
	*log_sum = (float)log(sum);
	return max;
}

double bt_kld_nll(const float *logits, int n_vocab, int32_t token)
{
	float max = logits[0];
	double sum = 0;
	for (int i = 1; i < n_vocab; i++)
		if (logits[i] > max) max = logits[i];
	for (int i = 0; i < n_vocab; i++) sum += (double)expf(logits[i] - max);
	return log(sum) - (double)(logits[token] - max);
}

void bt_kld_pack(const float *logits, int n_vocab, uint16_t *row)
{
	int at;
	float log_sum, max = largest(logits, n_vocab, &at, &log_sum), min = max;
	for (int i = 0; i < n_vocab; i++)
		if (logits[i] < min) min = logits[i];
	if (min < max - 16) min = max - 16;
	float head[2] = {(max - min) / 65535, min - max - log_sum};
	memcpy(row, head, sizeof head);
	row += 4;
	float inverse = head[0] > 0 ? 1 / head[0] : 0;
	for (int i = 0; i < n_vocab; i++) row[i] = logits[i] > min ? (uint16_t)lrintf(inverse * (logits[i] - min)) : 0;
	if (n_vocab & 1) row[n_vocab] = 0;
}

enum baton_status bt_kld_open(struct bt_kld *k, size_t cap, struct baton_error *err)
{
	*k = (struct bt_kld){0};
	k->klds = bt_mem_array(BT_MEM_HOST, cap, sizeof *k->klds);
	k->dps = bt_mem_array(BT_MEM_HOST, cap, sizeof *k->dps);
	return k->klds && k->dps ? BATON_OK : bt_fail_nomem(err, cap * sizeof *k->dps, "the statistics");
}

void bt_kld_close(struct bt_kld *k)
{
	bt_mem_free(k->klds);
	bt_mem_free(k->dps);
	k->klds = k->dps = NULL;
}

void bt_kld_add(struct bt_kld *k, const float *logits, int n_vocab, const uint16_t *row, int32_t token)
{
	int top, base_top = 0;
	float log_sum, head[2];
	float norm = largest(logits, n_vocab, &top, &log_sum) + log_sum;
	memcpy(head, row, sizeof head);
	row += 4;
	double divergence = 0;
	for (int i = 0; i < n_vocab; i++) {
		float base = head[0] * (float)row[i] + head[1]; /* log p of the base */
		if (row[i] > row[base_top]) base_top = i;
		if (base > -16) divergence += (double)(expf(base) * (base - (logits[i] - norm)));
	}
	float nll = norm - logits[token], base_nll = -(head[0] * (float)row[token] + head[1]);
	float dp = expf(-nll) - expf(-base_nll);
	double dp2 = (double)dp * (double)dp;
	k->nll += (double)nll;
	k->nll2 += (double)nll * (double)nll;
	k->base += (double)base_nll;
	k->base2 += (double)base_nll * (double)base_nll;
	k->nll_base += (double)nll * (double)base_nll;
	k->kld += divergence;
	k->kld2 += divergence * divergence;
	k->dp += (double)dp;
	k->dp2 += dp2;
	k->dp4 += dp2 * dp2;
	k->same_top += top == base_top;
	k->klds[k->n] = (float)divergence;
	k->dps[k->n] = dp;
	k->n++;
}

/* A mean and its standard error. */
struct estimate {
	double value, error;
};

static struct estimate mean(double sum, double squares, size_t n)
{
	struct estimate e = {sum / (double)n, 0};
	double variance = squares / (double)n - e.value * e.value;
	if (variance > 0 && n > 10) e.error = sqrt(variance / (double)(n - 1));
	return e;
}

/* What the tables at the end and the lines of the windows have in common. */
struct summary {
	struct estimate log_ppl, log_base, log_ratio, kld, dp, dp_rms, same_top;
	double covariance; /* of log_ppl and log_base */
};

static struct summary summarise(const struct bt_kld *k)
{
	struct summary s;
	double n = (double)k->n;
	s.log_ppl = mean(k->nll, k->nll2, k->n);
	s.log_base = mean(k->base, k->base2, k->n);
	s.covariance = k->n < 10 ? 0 : (k->nll_base / n - s.log_ppl.value * s.log_base.value) / (n - 1);
	s.log_ratio.value = s.log_ppl.value - s.log_base.value;
	double variance = s.log_ppl.error * s.log_ppl.error + s.log_base.error * s.log_base.error - 2 * s.covariance;
	s.log_ratio.error = variance > 0 ? sqrt(variance) : 0;
	s.kld = mean(k->kld, k->kld2, k->n);
	s.dp = mean(k->dp, k->dp2, k->n);
	struct estimate mse = mean(k->dp2, k->dp4, k->n);
	s.dp_rms.value = sqrt(mse.value);
	s.dp_rms.error = mse.value > 0 ? 0.5 / s.dp_rms.value * mse.error : 0;
	s.same_top.value = (double)k->same_top / n;
	s.same_top.error = k->n > 1 ? sqrt(s.same_top.value * (1 - s.same_top.value) / (n - 1)) : 0;
	return s;
}

#define PM " \xC2\xB1 "
#define DP "\xCE\x94p"

void bt_kld_print_chunk(const struct bt_kld *k, int chunk, FILE *out)
{
	if (!chunk) {
		fprintf(out, "chunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence          "
		             "    " DP " RMS            Same top p\n");
		return;
	}
	struct summary s = summarise(k);
	double ppl = exp(s.log_ppl.value);
	fprintf(out,
	        "%4d    %9.4f" PM "%9.4f    %10.5f" PM "%10.5f    %10.5f" PM "%10.5f    %6.3f" PM "%6.3f %%    %6.3f" PM
	        "%6.3f %%\n",
	        chunk, ppl, ppl * s.log_ppl.error, s.log_ratio.value, s.log_ratio.error, s.kld.value, s.kld.error,
	        100 * s.dp_rms.value, 100 * s.dp_rms.error, 100 * s.same_top.value, 100 * s.same_top.error);
	fflush(out);
}

static int ascending(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

/* Of sorted values, between neighbours. */
static double percentile(const float *values, size_t n, double fraction)
{
	double at = fraction * (double)(n - 1);
	size_t i = (size_t)at, next = i + 1 < n ? i + 1 : i;
	return (1 - (at - (double)i)) * (double)values[i] + (at - (double)i) * (double)values[next];
}

static void print_ppl(const struct summary *s, FILE *out)
{
	double ppl = exp(s->log_ppl.value), base = exp(s->log_base.value), ratio = exp(s->log_ratio.value);
	double ppl_error = ppl * s->log_ppl.error, base_error = base * s->log_base.error;
	double variance = ppl_error * ppl_error + base_error * base_error - 2 * ppl * base * s->covariance;
	double product = s->log_ppl.error * s->log_base.error;
	fprintf(out, "====== Perplexity statistics ======\n");
	fprintf(out, "Mean PPL(Q)                   : %10.6f" PM "%10.6f\n", ppl, ppl_error);
	fprintf(out, "Mean PPL(base)                : %10.6f" PM "%10.6f\n", base, base_error);
	fprintf(out, "Cor(ln(PPL(Q)), ln(PPL(base))): %6.2f%%\n", product > 0 ? 100 * s->covariance / product : 0);
	fprintf(out, "Mean ln(PPL(Q)/PPL(base))     : %10.6f" PM "%10.6f\n", s->log_ratio.value, s->log_ratio.error);
	fprintf(out, "Mean PPL(Q)/PPL(base)         : %10.6f" PM "%10.6f\n", ratio, ratio * s->log_ratio.error);
	fprintf(out, "Mean PPL(Q)-PPL(base)         : %10.6f" PM "%10.6f\n\n", ppl - base,
	        variance > 0 ? sqrt(variance) : 0);
}

void bt_kld_print(struct bt_kld *k, FILE *out)
{
	static const double kld_points[] = {0.999, 0.99, 0.95, 0.9, 0.5, 0.1, 0.05, 0.01, 0.001};
	static const double dp_points[] = {0.999, 0.99, 0.95, 0.9, 0.75, 0.5, 0.25, 0.1, 0.05, 0.01, 0.001};
	struct summary s = summarise(k);
	if (!k->n) return;
	qsort(k->klds, k->n, sizeof *k->klds, ascending);
	qsort(k->dps, k->n, sizeof *k->dps, ascending);
	fputc('\n', out);
	print_ppl(&s, out);
	fprintf(out, "====== KL divergence statistics ======\n");
	fprintf(out, "Mean    KLD: %10.6f" PM "%10.6f\n", s.kld.value, s.kld.error);
	fprintf(out, "Maximum KLD: %10.6f\n", (double)k->klds[k->n - 1]);
	for (size_t i = 0; i < sizeof kld_points / sizeof *kld_points; i++) {
		if (kld_points[i] == 0.5) fprintf(out, "Median  KLD: ");
		else fprintf(out, "%4.1f%%   KLD: ", 100 * kld_points[i]);
		fprintf(out, "%10.6f\n", percentile(k->klds, k->n, kld_points[i]));
	}
	fprintf(out, "Minimum KLD: %10.6f\n\n", (double)k->klds[0]);
	fprintf(out, "====== Token probability statistics ======\n");
	fprintf(out, "Mean    " DP ": %6.3f" PM "%5.3f %%\n", 100 * s.dp.value, 100 * s.dp.error);
	fprintf(out, "Maximum " DP ": %6.3f%%\n", 100 * (double)k->dps[k->n - 1]);
	for (size_t i = 0; i < sizeof dp_points / sizeof *dp_points; i++) {
		if (dp_points[i] == 0.5) fprintf(out, "Median  " DP ": ");
		else fprintf(out, "%4.1f%%   " DP ": ", 100 * dp_points[i]);
		fprintf(out, "%6.3f%%\n", 100 * percentile(k->dps, k->n, dp_points[i]));
	}
	fprintf(out, "Minimum " DP ": %6.3f%%\n", 100 * (double)k->dps[0]);
	fprintf(out, "RMS " DP "    : %6.3f" PM "%5.3f %%\n", 100 * s.dp_rms.value, 100 * s.dp_rms.error);
	fprintf(out, "Same top p: %6.3f" PM "%5.3f %%\n", 100 * s.same_top.value, 100 * s.same_top.error);
}
