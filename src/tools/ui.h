/* ui.h: what the commands share in talking to people: errors, progress, Ctrl-C, and finding a model by name. */
#ifndef BT_TOOLS_UI_H
#define BT_TOOLS_UI_H

#include "base/status.h"
#include "tools/options.h"

/* "baton: TEXT" as one line on stderr (line breaks in it become spaces). */
void bt_ui_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Print err that way and return the exit status for it: BT_EXIT_INTERRUPTED for BATON_ERR_CANCELLED (prints nothing
 * then), BT_EXIT_FAILED otherwise. */
int bt_ui_fail(const struct baton_error *err);

/* From now on the first Ctrl-C (SIGINT) sets a flag and the second ends the process. */
void bt_ui_catch_interrupt(void);
bool bt_ui_interrupted(void);
/* Forget the first one, for programs that go on. */
void bt_ui_clear_interrupt(void);

/* A progress bar on stderr, drawn at most ten times a second, and only where stderr is a terminal. */
struct bt_ui_progress {
	const char *label;    /* not copied */
	uint64_t done, total; /* bytes; total 0: not known */
	uint64_t first;       /* bytes that were there before: not counted in the rate */
	double began, drawn;  /* seconds */
	bool terminal, shown;
	bool count; /* things are counted, not bytes */
};
void bt_ui_progress_begin(struct bt_ui_progress *p, const char *label, uint64_t first, uint64_t total);
void bt_ui_progress_update(struct bt_ui_progress *p, uint64_t done, uint64_t total);
/* Take the bar away. */
void bt_ui_progress_end(struct bt_ui_progress *p);
/* A bt_progress_fn for gguf.h, user being a struct bt_ui_progress *: false after Ctrl-C. */
bool bt_ui_progress_load(void *user, uint64_t done, uint64_t total);

/* Seconds on the monotonic clock. */
double bt_ui_now(void);
/* "1.21 GiB", "14.0 MiB", "512 B" into text; returns text. */
const char *bt_ui_bytes(char *text, size_t size, uint64_t bytes);

/* The file that a model reference means: a path, a built-in name (smollm2), hf:owner/repo[:file or quant], an https URL.
 * A path that exists wins; other references are looked up in the cache, and a built-in one that is not there yet is
 * fetched at once, with a progress bar. *path is allocated (bt_mem_free). Otherwise the error says what to do. */
enum baton_status bt_tool_model_path(const struct bt_opts *o, const char *ref, char **path, struct baton_error *err);

#endif
