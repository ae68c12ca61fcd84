#include "tools/ui.h"

#include "tools/fetch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

void bt_ui_error(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	for (char *c = text; *c; c++)
		if (*c == '\n' || *c == '\r') *c = ' ';
	fprintf(stderr, "baton: %s\n", text);
}

int bt_ui_fail(const struct baton_error *err)
{
	if (err->status == BATON_ERR_CANCELLED) return BT_EXIT_INTERRUPTED;
	bt_ui_error("%s", err->text);
	return BT_EXIT_FAILED;
}

/* A signal handler has no other place to write to. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	if (interrupted) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
	interrupted = 1;
}

void bt_ui_catch_interrupt(void)
{
	struct sigaction sa;
	memset(&sa, 0, sizeof sa);
	sa.sa_handler = on_interrupt;
	sigemptyset(&sa.sa_mask);
	/* No SA_RESTART: a read from the terminal ends when the user presses Ctrl-C. */
	sigaction(SIGINT, &sa, NULL);
}

bool bt_ui_interrupted(void)
{
	return interrupted != 0;
}

void bt_ui_clear_interrupt(void)
{
	interrupted = 0;
}

double bt_ui_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

const char *bt_ui_bytes(char *text, size_t size, uint64_t bytes)
{
	if (bytes < 1024) snprintf(text, size, "%d B", (int)bytes);
	else if (bytes < 1u << 20) snprintf(text, size, "%.1f KiB", (double)bytes / 1024);
	else if (bytes < 1u << 30) snprintf(text, size, "%.1f MiB", (double)bytes / 1048576);
	else snprintf(text, size, "%.2f GiB", (double)bytes / 1073741824);
	return text;
}

void bt_ui_progress_begin(struct bt_ui_progress *p, const char *label, uint64_t first, uint64_t total)
{
	*p = (struct bt_ui_progress){.label = label, .done = first, .total = total, .first = first};
	p->began = p->drawn = bt_ui_now();
	p->terminal = isatty(STDERR_FILENO);
}

static int terminal_columns(void)
{
	struct winsize ws;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) || ws.ws_col < 20) return 80;
	return ws.ws_col;
}

static void draw(struct bt_ui_progress *p, double now)
{
	char done[32], total[32], rate[32], line[256];
	double per_second = now > p->began ? (double)(p->done - p->first) / (now - p->began) : 0;
	if (p->count) {
		fprintf(stderr, "\r\x1b[K%.60s  %d of %d", p->label, (int)p->done, (int)p->total);
		fflush(stderr);
		p->shown = true;
		return;
	}
	int n = snprintf(line, sizeof line, "%.60s  %s", p->label, bt_ui_bytes(done, sizeof done, p->done));
	if (p->total)
		n += snprintf(line + n, sizeof line - (size_t)n, " of %s  %3d %%",
		              bt_ui_bytes(total, sizeof total, p->total),
		              (int)((double)p->done * 100 / (double)p->total));
	n += snprintf(line + n, sizeof line - (size_t)n, "  %s/s",
	              bt_ui_bytes(rate, sizeof rate, (uint64_t)per_second));
	if (p->total > p->done && per_second > 1) {
		unsigned left = (unsigned)((double)(p->total - p->done) / per_second);
		n += snprintf(line + n, sizeof line - (size_t)n, "  %u:%02u left", left / 60, left % 60);
	}
	int columns = terminal_columns(), room = columns - n - 5;
	if (p->total && room >= 10) {
		char bar[64];
		if (room > 40) room = 40;
		int full = (int)((double)p->done / (double)p->total * room);
		for (int i = 0; i < room; i++) bar[i] = i < full ? '#' : '.';
		fprintf(stderr, "\r\x1b[K%s  [%.*s]", line, room, bar);
	} else {
		fprintf(stderr, "\r\x1b[K%.*s", columns - 1, line);
	}
	fflush(stderr);
	p->shown = true;
}

void bt_ui_progress_update(struct bt_ui_progress *p, uint64_t done, uint64_t total)
{
	p->done = done;
	if (total) p->total = total;
	if (!p->terminal) return;
	double now = bt_ui_now();
	if (now - p->drawn < 0.1) return;
	p->drawn = now;
	draw(p, now);
}

void bt_ui_progress_end(struct bt_ui_progress *p)
{
	if (p->shown) fputs("\r\x1b[K", stderr);
	p->shown = false;
}

bool bt_ui_progress_load(void *user, uint64_t done, uint64_t total)
{
	bt_ui_progress_update(user, done, total);
	return !bt_ui_interrupted();
}

enum baton_status bt_tool_model_path(const struct bt_opts *o, const char *ref, char **path, struct baton_error *err)
{
	struct bt_hub_ref r;
	struct bt_fetch_params params = {bt_opt_str(o, BT_OPT_HF_ENDPOINT), false};
	*path = NULL;
	enum baton_status st = bt_hub_parse(ref, &r, err);
	if (st) return st;
	if (r.kind == BT_HUB_PATH && !strpbrk(ref, "/.") && access(ref, F_OK))
		return bt_fail(err, BATON_ERR_IO,
		               "%.200s: there is no such file and no built-in model of that name; names are %s, "
		               "hf:owner/repo and https addresses",
		               ref, bt_hub_builtins[0].name);
	if (r.kind == BT_HUB_PATH) {
		*path = bt_mem_strdup(BT_MEM_HOST, ref);
		return *path ? BATON_OK : bt_fail_nomem(err, strlen(ref), "a path");
	}
	st = bt_hub_cached(&r, path, err);
	if (st || *path) return st;
	if (r.kind == BT_HUB_BUILTIN) return bt_fetch(&r, ref, &params, path, err);
	return bt_fail(err, BATON_ERR_IO, "%s: not on this machine yet; `baton pull %s` fetches it", ref, ref);
}
