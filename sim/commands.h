/* commands.h -- the subcommands; each takes its own argv (argv[0] is its name) and fails by value.
 * main.c alone turns a failure into a line on standard error and an exit code. */
#ifndef KVLAB_COMMANDS_H
#define KVLAB_COMMANDS_H

#include "error.h"

Status cmd_run(int argc, char **argv, Error *err);
Status cmd_convert(int argc, char **argv, Error *err);
Status cmd_merge(int argc, char **argv, Error *err);
Status cmd_bench(int argc, char **argv, Error *err);
Status cmd_forward(int argc, char **argv, Error *err);
Status cmd_report(int argc, char **argv, Error *err);
Status cmd_check(int argc, char **argv, Error *err);
Status cmd_describe(int argc, char **argv, Error *err);
Status cmd_models(int argc, char **argv, Error *err);
Status cmd_plan(int argc, char **argv, Error *err);
Status cmd_audit(int argc, char **argv, Error *err);

#endif
