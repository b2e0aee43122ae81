/* blas.c -- the large products and decompositions, handed to OpenBLAS and LAPACK.
 *
 * LAPACK thinks in columns: a row-major [m, n] in memory is its column-major [n, m], the transpose.
 * Each decomposition below is therefore stated for the transpose, so that nothing is copied to turn
 * it round. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "blas.h"

#include <cblas.h>
#include <lapacke.h>
#include <stdlib.h>
#include <sys/mman.h>

/* OpenBLAS packs all of the weights at each product: up to this many rows it is faster to stream
 * them once a row. */
enum { ROWS_BY_VECTOR = 4 };

/* BLAS refuses a stride of 0 even where nothing is read. */
static int stride(size_t ld) {
    return ld ? (int)ld : 1;
}

static int transposed(int trans) {
    return trans ? CblasTrans : CblasNoTrans;
}

void blas_set_threads(int threads) {
    openblas_set_num_threads(threads);
}

int blas_threads(void) {
    return openblas_get_num_threads();
}

/* OpenBLAS maps a buffer of this size for each of its threads, about. */
#define WORKSPACE_BYTES ((size_t)144 << 20)

int blas_prepare(int threads) {
    enum { N = 64 };
    static float a[N * N], c[N * N];
    const size_t bytes = (size_t)(threads > 1 ? threads : 1) * WORKSPACE_BYTES;
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) return -1;
    munmap(room, bytes);
    blas_set_threads(threads);
    blas_gemm(0, 0, N, N, N, 1, a, N, a, N, 0, c, N);
    return 0;
}

void blas_linear(size_t rows, size_t out, size_t in, const float *x, size_t ld_x, const float *w,
                 float *y, size_t ld_y) {
    if (rows > ROWS_BY_VECTOR || in == 0) {
        blas_gemm(0, 1, rows, out, in, 1, x, ld_x, w, in, 0, y, ld_y);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)out, (int)in, 1, w, stride(in), x + r * ld_x,
                    1, 0, y + r * ld_y, 1);
}

void blas_linear_f64(size_t rows, size_t out, size_t in, const double *x, size_t ld_x,
                     const double *w, double *y, size_t ld_y) {
    if (rows > ROWS_BY_VECTOR || in == 0) {
        blas_gemm_f64(0, 1, rows, out, in, 1, x, ld_x, w, in, 0, y, ld_y);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)out, (int)in, 1, w, stride(in), x + r * ld_x,
                    1, 0, y + r * ld_y, 1);
}

void blas_gemm(int trans_a, int trans_b, size_t m, size_t n, size_t k, float alpha, const float *a,
               size_t ld_a, const float *b, size_t ld_b, float beta, float *c, size_t ld_c) {
    cblas_sgemm(CblasRowMajor, transposed(trans_a), transposed(trans_b), (int)m, (int)n, (int)k,
                alpha, a, stride(ld_a), b, stride(ld_b), beta, c, stride(ld_c));
}

void blas_gemm_f64(int trans_a, int trans_b, size_t m, size_t n, size_t k, double alpha,
                   const double *a, size_t ld_a, const double *b, size_t ld_b, double beta,
                   double *c, size_t ld_c) {
    cblas_dgemm(CblasRowMajor, transposed(trans_a), transposed(trans_b), (int)m, (int)n, (int)k,
                alpha, a, stride(ld_a), b, stride(ld_b), beta, c, stride(ld_c));
}

void blas_syrk_f64(size_t n, size_t rows, const double *a, size_t ld_a, double *c) {
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (int)n, (int)rows, 1, a, stride(ld_a), 1, c,
                stride(n));
}

int blas_cholesky(size_t n, double *a) {
    if (n == 0) return 0;
    /* The lower triangle by rows is the upper one by columns, and A = U^T U = L L^T. */
    const int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'U', (int)n, a, (int)n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) a[i * n + j] = 0;
    return info;
}

void blas_multiply_lower(int trans, size_t m, size_t n, const double *l, double *b, size_t ld_b) {
    cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, transposed(trans), CblasNonUnit, (int)m,
                (int)n, 1, l, stride(n), b, stride(ld_b));
}

void blas_solve_lower_left(int trans, size_t m, size_t n, const double *l, double *b, size_t ld_b) {
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, transposed(trans), CblasNonUnit, (int)m,
                (int)n, 1, l, stride(m), b, stride(ld_b));
}

void blas_solve_lower(int trans, size_t m, size_t n, const double *l, double *b, size_t ld_b) {
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, transposed(trans), CblasNonUnit, (int)m,
                (int)n, 1, l, stride(n), b, stride(ld_b));
}

/* LAPACK gives eigenvalues ascending: reverses them and the rows of width `width` beside them. */
static void reverse(size_t n, size_t width, double *rows, double *values) {
    for (size_t low = 0, high = n; low + 1 < high; low++) {
        high--;
        const double value = values[low];
        values[low] = values[high];
        values[high] = value;
        for (size_t i = 0; i < width; i++) {
            const double x = rows[low * width + i];
            rows[low * width + i] = rows[high * width + i];
            rows[high * width + i] = x;
        }
    }
}

int blas_eigh(size_t n, double *a, double *values) {
    if (n == 0) return 0;
    const int order = (int)n;
    const int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', order, a, order, values);
    if (info == 0) reverse(n, n, a, values);
    return info;
}

int blas_eigh_complex(size_t n, double *a, double *values) {
    if (n == 0) return 0;
    const int order = (int)n;
    lapack_complex_double *matrix = (lapack_complex_double *)a;
    const int info = LAPACKE_zheevd(LAPACK_COL_MAJOR, 'V', 'L', order, matrix, order, values);
    if (info != 0) return info;
    /* Read by columns the matrix is conj(A), and its eigenvectors are those of A conjugated. */
    for (size_t i = 0; i < n * n; i++) a[2 * i + 1] = -a[2 * i + 1];
    reverse(n, 2 * n, a, values);
    return 0;
}

int blas_svd(size_t m, size_t n, double *a, double *values, double *vt) {
    const size_t rank = m < n ? m : n;
    if (rank == 0) return 0;
    /* A = U S V^T gives A^T = V S U^T: our right vectors are LAPACK's left ones, column by column.
     * It does not give one side alone; the other is thrown away. */
    double *other = malloc(rank * m * sizeof *other);
    if (!other) return LAPACK_WORK_MEMORY_ERROR;
    const int info = LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', (int)n, (int)m, a, (int)n, values, vt,
                                    (int)n, other, (int)rank);
    free(other);
    return info;
}

int blas_orthonormalise(size_t m, size_t n, double *a) {
    if (n == 0) return 0;
    /* A = Q R gives A^T = R^T Q^T, an LQ decomposition of the transpose. */
    double *reflectors = malloc(n * sizeof *reflectors);
    if (!reflectors) return LAPACK_WORK_MEMORY_ERROR;
    const int rows = (int)n, columns = (int)m;
    int info = LAPACKE_dgelqf(LAPACK_COL_MAJOR, rows, columns, a, rows, reflectors);
    if (info == 0)
        info = LAPACKE_dorglq(LAPACK_COL_MAJOR, rows, columns, rows, a, rows, reflectors);
    free(reflectors);
    return info;
}

int blas_polar(size_t n, double *a) {
    if (n == 0) return 0;
    double *work = malloc((2 * n * n + n) * sizeof *work);
    if (!work) return LAPACK_WORK_MEMORY_ERROR;
    double *left = work, *right = work + n * n, *values = right + n * n;
    /* By columns this is a^T = V S U^T; the product of its factors is (U V^T)^T, by rows U V^T. */
    const int order = (int)n;
    const int info = LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', order, order, a, order, values, left,
                                    order, right, order);
    if (info == 0)
        cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, order, order, order, 1, left, order,
                    right, order, 0, a, order);
    free(work);
    return info;
}
