/* A GRU in C, forward and back, as a program: ./gru CASE.raw RESULT.raw   (README.md says more) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { Z, R, C }; /* update gate, reset gate, candidate: the order of the parameters, W_x, W_h and b of each */
static const char *const letter = "zrh";

static void stop(const char *why) { fprintf(stderr, "%s\n", why); exit(1); }

static void *zeros(size_t count, size_t size) {
    void *array = calloc(count + 1, size);
    if (!array) stop("gru: no memory left");
    return array;
}

static float *next(FILE *in, size_t count) {
    float *array = zeros(count, sizeof(float));
    if (fread(array, sizeof(float), count, in) != count) stop("gru: the case is too short");
    return array;
}

/* out (rows, columns) += a (rows, inner) b (inner, columns), b transposed where it lies as (columns, inner) */
static void product(float *out, const float *a, const float *b, int rows, int inner, int columns, int transposed) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            double sum = 0;
            for (int k = 0; k < inner; k++)
                sum += (double)a[i * inner + k] * b[transposed ? j * inner + k : k * columns + j];
            out[i * columns + j] += (float)sum;
        }
}

/* The gradient of weights, over all steps: total (rows, columns) += a^T b; a (n, rows), b (n, columns) */
static void gather(double *total, const float *a, const float *b, int n, int rows, int columns) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < rows; j++)
            for (int k = 0; k < columns; k++)
                total[j * columns + k] += (a ? a[i * rows + j] : 1.0) * b[i * columns + k];
}

static void put(FILE *out, const double *total, size_t count) {
    for (size_t i = 0; i < count; i++) { float one = (float)total[i]; fwrite(&one, sizeof one, 1, out); }
}

int main(int argc, char **argv) {
    int T, n, d, h, gradients, c;
    FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL;
    const char *sizes = "{\"T\": %d, \"n\": %d, \"d\": %d, \"h\": %d, \"gradients\": %d";
    if (!in || fscanf(in, sizes, &T, &n, &d, &h, &gradients) != 5) stop("gru CASE RESULT, where CASE is a raw case");
    while ((c = fgetc(in)) != '\n' && c != EOF) {}
    size_t nd = (size_t)n * d, nh = (size_t)n * h, dh = (size_t)d * h, hh = (size_t)h * h;
    float *X = next(in, T * nd), *H0 = next(in, nh), *dH = gradients ? next(in, T * nh) : NULL;
    float *W_x[3], *W_h[3], *b[3];
    for (int g = 0; g < 3; g++) W_x[g] = next(in, dh), W_h[g] = next(in, hh), b[g] = next(in, h);

    /* H holds the start and then all states; reset is R * H */
    float *H = zeros((T + 1) * nh, sizeof(float)), *reset = zeros(T * nh, sizeof(float)), *gate[3];
    for (int g = 0; g < 3; g++) gate[g] = zeros(T * nh, sizeof(float));
    for (size_t i = 0; i < nh; i++) H[i] = H0[i];
    for (int t = 0; t < T; t++) {
        float *x = X + t * nd, *before = H + t * nh, *A[3], *RH = reset + t * nh;
        for (int g = 0; g < 3; g++) {
            A[g] = gate[g] + t * nh;
            for (size_t i = 0; i < nh; i++) A[g][i] = b[g][i % h];
            product(A[g], x, W_x[g], n, d, h, 0);
            product(A[g], g == C ? RH : before, W_h[g], n, h, h, 0);
            for (size_t i = 0; i < nh; i++) A[g][i] = g == C ? tanhf(A[g][i]) : 1 / (1 + expf(-A[g][i]));
            for (size_t i = 0; g == R && i < nh; i++) RH[i] = A[R][i] * before[i];
        }
        for (size_t i = 0; i < nh; i++) before[nh + i] = A[Z][i] * before[i] + (1 - A[Z][i]) * A[C][i];
    }

    FILE *out = fopen(argv[2], "wb");
    if (!out) stop("gru: the result cannot be written");
    fprintf(out, "{\"arrays\": {\"H\": [%d, %d, %d]", T, n, h);
    if (gradients) fprintf(out, ", \"grad.X\": [%d, %d, %d], \"grad.H0\": [%d, %d]", T, n, d, n, h);
    for (int g = 0; gradients && g < 3; g++)
        fprintf(out, ", \"grad.W_x%c\": [%d, %d], \"grad.W_h%c\": [%d, %d], \"grad.b_%c\": [%d]",
                letter[g], d, h, letter[g], h, h, letter[g], h);
    fprintf(out, "}}\n");
    fwrite(H + nh, sizeof(float), T * nh, out);
    if (gradients) {
        float *dX = zeros(T * nd, sizeof(float)), *back = zeros(nh, sizeof(float)), *of_reset = zeros(nh, sizeof(float));
        float *D[3];
        double *dW_x[3], *dW_h[3], *db[3];
        for (int g = 0; g < 3; g++) {
            D[g] = zeros(nh, sizeof(float)), dW_x[g] = zeros(dh, sizeof(double));
            dW_h[g] = zeros(hh, sizeof(double)), db[g] = zeros(h, sizeof(double));
        }
        for (int t = T; t--;) {
            float *x = X + t * nd, *before = H + t * nh;
            float *z = gate[Z] + t * nh, *r = gate[R] + t * nh, *k = gate[C] + t * nh;
            for (size_t i = 0; i < nh; i++) {
                float g = dH[t * nh + i] + back[i];
                D[C][i] = g * (1 - z[i]) * (1 - k[i] * k[i]);
                D[Z][i] = g * (before[i] - k[i]) * z[i] * (1 - z[i]);
                back[i] = g * z[i];
                of_reset[i] = 0;
            }
            product(of_reset, D[C], W_h[C], n, h, h, 1);
            for (size_t i = 0; i < nh; i++) {
                D[R][i] = of_reset[i] * before[i] * r[i] * (1 - r[i]);
                back[i] += of_reset[i] * r[i];
            }
            for (int g = 0; g < 3; g++) {
                product(dX + t * nd, D[g], W_x[g], n, h, d, 1);
                if (g != C) product(back, D[g], W_h[g], n, h, h, 1);
                gather(dW_x[g], x, D[g], n, d, h);
                gather(dW_h[g], g == C ? reset + t * nh : before, D[g], n, h, h);
                gather(db[g], NULL, D[g], n, 1, h);
            }
        }
        fwrite(dX, sizeof(float), T * nd, out);
        fwrite(back, sizeof(float), nh, out);
        for (int g = 0; g < 3; g++) put(out, dW_x[g], dh), put(out, dW_h[g], hh), put(out, db[g], h);
    }
    if (ferror(out) || fclose(out)) stop("gru: the result cannot be written");
    return 0;
}
