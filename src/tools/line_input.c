#include "tools/line_input.h"

#include "base/mem.h"
#include "tools/fetch.h"
#include "tools/ui.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HISTORY_LINES 1000

struct bt_line_input {
	char *prompt;
	char *history_path;
	EditLine *edit; /* NULL: no terminal */
	History *history;
	bool going_on; /* inside of a line that goes on */
};

static const char *show_prompt(EditLine *edit)
{
	void *user = NULL;
	el_get(edit, EL_CLIENTDATA, &user);
	const struct bt_line_input *l = user;
	return !l ? "" : l->going_on ? ". " : l->prompt;
}

static void open_history(struct bt_line_input *l)
{
	HistEvent event;
	l->history = history_init();
	if (!l->history) return;
	history(l->history, &event, H_SETSIZE, HISTORY_LINES);
	history(l->history, &event, H_SETUNIQUE, 1);
	if (l->history_path) history(l->history, &event, H_LOAD, l->history_path);
	el_set(l->edit, EL_HIST, history, l->history);
}

enum baton_status bt_line_open(const char *prompt, const char *history_path, struct bt_line_input **out,
                               struct baton_error *err)
{
	struct bt_line_input *l = *out = bt_mem_zalloc(BT_MEM_HOST, sizeof *l);
	if (!l) return bt_fail_nomem(err, sizeof *l, "the input line");
	l->prompt = bt_mem_strdup(BT_MEM_HOST, prompt);
	l->history_path = history_path ? bt_mem_strdup(BT_MEM_HOST, history_path) : NULL;
	if (!l->prompt || (history_path && !l->history_path)) {
		bt_line_close(out);
		return bt_fail_nomem(err, strlen(prompt), "the input line");
	}
	if (!isatty(STDIN_FILENO)) return BATON_OK;
	setlocale(LC_CTYPE, ""); /* libedit takes characters apart */
	l->edit = el_init("baton", stdin, stdout, stderr);
	if (!l->edit) return BATON_OK; /* a terminal that it does not know: plain lines */
	el_set(l->edit, EL_CLIENTDATA, l);
	el_set(l->edit, EL_PROMPT, show_prompt);
	el_set(l->edit, EL_EDITOR, "emacs");
	el_set(l->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
	open_history(l);
	el_source(l->edit, NULL);
	return BATON_OK;
}

void bt_line_close(struct bt_line_input **line)
{
	struct bt_line_input *l = *line;
	HistEvent event;
	if (!l) return;
	if (l->history && l->history_path && !bt_fetch_folder(l->history_path, NULL))
		history(l->history, &event, H_SAVE, l->history_path);
	if (l->history) history_end(l->history);
	if (l->edit) el_end(l->edit);
	bt_mem_free(l->prompt);
	bt_mem_free(l->history_path);
	bt_mem_free(l);
	*line = NULL;
}

bool bt_line_is_terminal(const struct bt_line_input *l)
{
	return l->edit != NULL;
}

/* One line as it comes, with its line break. */
static enum bt_line_result read_one(struct bt_line_input *l, struct bt_buf *line)
{
	int count = 0;
	if (l->edit) {
		const char *text = el_gets(l->edit, &count);
		if (bt_ui_interrupted()) {
			el_reset(l->edit);
			return BT_LINE_INTERRUPTED;
		}
		if (!text || count <= 0) return BT_LINE_END;
		bt_buf_add(line, text, (size_t)count);
		return BT_LINE_OK;
	}
	char *text = NULL;
	size_t cap = 0;
	ssize_t n = getline(&text, &cap, stdin);
	if (n > 0) bt_buf_add(line, text, (size_t)n);
	free(text);
	if (n > 0) return BT_LINE_OK;
	if (!bt_ui_interrupted()) return BT_LINE_END;
	clearerr(stdin);
	return BT_LINE_INTERRUPTED;
}

enum bt_line_result bt_line_read(struct bt_line_input *l, struct bt_buf *line)
{
	enum bt_line_result r;
	HistEvent event;
	bt_buf_clear(line);
	for (l->going_on = false;; l->going_on = true) {
		r = read_one(l, line);
		if (r != BT_LINE_OK) break;
		if (line->len && line->data[line->len - 1] == '\n') line->data[--line->len] = 0;
		if (!line->len || line->data[line->len - 1] != '\\') break;
		line->data[line->len - 1] = '\n';
	}
	if (r == BT_LINE_OK && l->history && line->len) history(l->history, &event, H_ENTER, line->data);
	return r;
}

bool bt_line_history_path(const char *name, char *path, size_t size)
{
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n;
	if (xdg && xdg[0] == '/') n = snprintf(path, size, "%s/baton/%s", xdg, name);
	else if (home && *home) n = snprintf(path, size, "%s/.local/state/baton/%s", home, name);
	else return false;
	return n > 0 && (size_t)n < size;
}
