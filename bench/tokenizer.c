/* tokenizer: times opening a vocabulary and tokenizing a text with it, in one process.
 *
 * usage: bench-tokenizer MODEL.gguf [TEXT-FILE] [repeats]
 * Prints the median milliseconds of opening the GGUF directory and the tokenizer, and the best megabytes a second of
 * tokenizing the file. Without a file it uses four hostile texts of a megabyte each: spaces, letters, emoji, digits.
 */
#include "base/limits.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int up(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void measure(const struct bt_tokenizer *t, const char *name, const char *text, size_t len, int repeats)
{
	struct baton_error err;
	double best = 1e9;
	size_t n = 0;
	for (int i = 0; i < repeats; i++) {
		struct bt_tokens tokens = {0};
		double began = now();
		if (bt_tokenize(t, text, len, 0, &tokens, &err)) {
			printf("%-10s %s\n", name, err.text);
			return;
		}
		double took = now() - began;
		if (took < best) best = took;
		n = tokens.n;
		bt_tokens_free(&tokens);
	}
	printf("%-10s %9zu bytes %9zu tokens %9.3f ms %8.2f MB/s\n", name, len, n, best * 1e3,
	       (double)len / best * 1e-6);
}

static void hostile(const struct bt_tokenizer *t, const char *name, const char *unit)
{
	const size_t size = 1 << 20;
	size_t n = strlen(unit), len = 0;
	char *text = malloc(size);
	if (!text) return;
	for (; len + n <= size; len += n) memcpy(text + len, unit, n);
	measure(t, name, text, len, 3);
	free(text);
}

static char *read_all(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	if (!f) return NULL;
	fseek(f, 0, SEEK_END);
	long size = ftell(f);
	rewind(f);
	char *text = size < 0 ? NULL : malloc((size_t)size + 1);
	*len = text ? fread(text, 1, (size_t)size, f) : 0;
	fclose(f);
	return text;
}

int main(int argc, char **argv)
{
	if (argc < 2) return fprintf(stderr, "usage: bench-tokenizer MODEL.gguf [TEXT-FILE] [repeats]\n"), 2;
	enum { REPEATS = 101 };
	int repeats = argc > 3 ? atoi(argv[3]) : 11;
	if (repeats < 1 || repeats > REPEATS) repeats = REPEATS;
	static double gguf_ms[REPEATS], open_ms[REPEATS];
	struct baton_error err;
	struct bt_gguf *g = NULL;
	struct bt_tokenizer *t = NULL;
	for (int i = 0; i < repeats; i++) {
		bt_tokenizer_close(&t);
		bt_gguf_close(&g);
		double began = now();
		if (bt_gguf_open(argv[1], &(struct bt_gguf_params){.no_data = true}, &g, &err))
			return fprintf(stderr, "%s\n", err.text), 1;
		double between = now();
		if (bt_tokenizer_open(g, &t, &err)) return fprintf(stderr, "%s\n", err.text), 1;
		gguf_ms[i] = 1e3 * (between - began);
		open_ms[i] = 1e3 * (now() - between);
	}
	if (!t) return fprintf(stderr, "%s: no tokenizer\n", argv[1]), 1;
	qsort(gguf_ms, (size_t)repeats, sizeof *gguf_ms, up);
	qsort(open_ms, (size_t)repeats, sizeof *open_ms, up);
	printf("open: directory %.2f ms, tokenizer %.2f ms (median of %d)\n", gguf_ms[repeats / 2],
	       open_ms[repeats / 2], repeats);
	size_t len;
	char *text = argc > 2 ? read_all(argv[2], &len) : NULL;
	if (argc > 2 && !text) return fprintf(stderr, "cannot read %s\n", argv[2]), 1;
	if (text) {
		measure(t, "text", text, len, repeats);
	} else {
		hostile(t, "spaces", " ");
		hostile(t, "letters", "a");
		hostile(t, "emoji", "\xF0\x9F\x98\x80");
		hostile(t, "digits", "7");
	}
	free(text);
	bt_tokenizer_close(&t);
	bt_gguf_close(&g);
	return 0;
}
