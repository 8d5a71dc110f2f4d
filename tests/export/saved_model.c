/* Asks a SavedModel through TensorFlow's C API: no Python in the process.
 *
 *     saved_model [-l LIBRARY]... FOLDER INPUT OUTPUT... < rows
 *
 * INPUT and OUTPUT are names of tensors in the graph, as `op:0`. A LIBRARY
 * has ops that the graph needs. Where INPUT takes strings, each line of the
 * standard input is a row, an empty one too; where it takes floats, numbers
 * fill rows of its shape. Each OUTPUT becomes a line of its values, a tab
 * between them.
 */

#define _POSIX_C_SOURCE 200809L

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensorflow/c/c_api.h"

enum { MOST_DIMENSIONS = 8, MOST_OUTPUTS = 16 };

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static void check(const char *what, TF_Status *status) {
  if (TF_GetCode(status) != TF_OK)
    fail("%s: %s", what, TF_Message(status));
}

static TF_Session *load(const char *folder, TF_Graph *graph,
                        TF_Status *status) {
  const char *tags[] = {"serve"};
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session = TF_LoadSessionFromSavedModel(
      options, NULL, folder, tags, 1, graph, NULL, status);
  check(folder, status);
  TF_DeleteSessionOptions(options);
  return session;
}

/* Finds `op:1`, the second output of an operation. */
static TF_Output tensor(TF_Graph *graph, const char *name) {
  char operation[256];
  TF_Output found = {NULL, 0};
  if (sscanf(name, "%255[^:]:%d", operation, &found.index) == 2)
    found.oper = TF_GraphOperationByName(graph, operation);
  if (!found.oper || found.index >= TF_OperationNumOutputs(found.oper))
    fail("There is no tensor %s.", name);
  return found;
}

static void *grown(void *array, size_t bytes) {
  array = realloc(array, bytes);
  if (!array) fail("There is no memory for %zu bytes.", bytes);
  return array;
}

static TF_Tensor *read_strings(void) {
  TF_TString *rows = NULL;
  int64_t count = 0;
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;
  while ((length = getline(&line, &capacity, stdin)) >= 0) {
    if (length && line[length - 1] == '\n') length--;
    rows = grown(rows, (count + 1) * sizeof *rows);
    TF_StringInit(&rows[count]);
    TF_StringCopy(&rows[count++], line, length);
  }
  free(line);
  size_t bytes = count * sizeof *rows;
  TF_Tensor *read = TF_AllocateTensor(TF_STRING, &count, 1, bytes);
  memcpy(TF_TensorData(read), rows, bytes); /* It owns the strings now. */
  free(rows);
  return read;
}

static TF_Tensor *read_floats(TF_Graph *graph, TF_Output input,
                              TF_Status *status) {
  int64_t shape[MOST_DIMENSIONS];
  int dimensions = TF_GraphGetTensorNumDims(graph, input, status);
  check("The input's shape", status);
  if (dimensions < 1 || dimensions > MOST_DIMENSIONS)
    fail("The input has %d dimensions.", dimensions);
  TF_GraphGetTensorShape(graph, input, shape, dimensions, status);
  check("The input's shape", status);

  float *values = NULL, value;
  size_t count = 0, row = 1;
  while (scanf("%f", &value) == 1) {
    values = grown(values, (count + 1) * sizeof value);
    values[count++] = value;
  }
  for (int i = 1; i < dimensions; i++) row *= shape[i];
  if (count % row) fail("%zu numbers are no rows of %zu.", count, row);
  shape[0] = count / row;

  size_t bytes = count * sizeof value;
  TF_Tensor *read = TF_AllocateTensor(TF_FLOAT, shape, dimensions, bytes);
  memcpy(TF_TensorData(read), values, bytes);
  free(values);
  return read;
}

static void print(TF_Tensor *output) {
  void *data = TF_TensorData(output);
  int64_t count = TF_TensorElementCount(output);
  for (int64_t i = 0; i < count; i++) {
    if (i) putchar('\t');
    if (TF_TensorType(output) == TF_FLOAT) {
      printf("%.9g", ((float *)data)[i]);
    } else if (TF_TensorType(output) == TF_STRING) {
      TF_TString *string = &((TF_TString *)data)[i];
      fwrite(TF_StringGetDataPointer(string), 1, TF_StringGetSize(string),
             stdout);
    } else {
      fail("An output has values of type %d.", TF_TensorType(output));
    }
  }
  putchar('\n');
}

int main(int count, char **arguments) {
  TF_Status *status = TF_NewStatus();
  int option;
  while ((option = getopt(count, arguments, "l:")) == 'l') {
    TF_LoadLibrary(optarg, status);
    check(optarg, status);
  }
  char **names = &arguments[optind + 2];
  int outputs = count - optind - 2;
  if (option != -1 || outputs < 1 || outputs > MOST_OUTPUTS)
    fail("usage: saved_model [-l LIBRARY]... FOLDER INPUT OUTPUT...");

  TF_Graph *graph = TF_NewGraph();
  TF_Session *session = load(arguments[optind], graph, status);
  TF_Output input = tensor(graph, arguments[optind + 1]);
  int of_strings = TF_OperationOutputType(input) == TF_STRING;
  TF_Tensor *rows =
      of_strings ? read_strings() : read_floats(graph, input, status);
  TF_Output wanted[MOST_OUTPUTS];
  TF_Tensor *answers[MOST_OUTPUTS];
  for (int i = 0; i < outputs; i++) wanted[i] = tensor(graph, names[i]);

  TF_SessionRun(session, NULL, &input, &rows, 1, wanted, answers, outputs,
                NULL, 0, NULL, status);
  check("The call", status);
  for (int i = 0; i < outputs; i++) {
    print(answers[i]);
    TF_DeleteTensor(answers[i]);
  }

  TF_DeleteTensor(rows);
  TF_DeleteSession(session, status);
  check("The end", status);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
