/* blas.h -- the large products, by OpenBLAS; the one file that includes cblas.h and lapacke.h.
 *
 * Each size is below 2^31. Matrices are row-major; weights lie as in checkpoints, [out, in]. BLAS
 * threads and ours never multiply: inside a parallel region call products alone, and only after
 * blas_set_threads(1). */
#ifndef KVLAB_BLAS_H
#define KVLAB_BLAS_H

#include <stddef.h>

/* Threads that the products use from now on, and those that they use. */
void blas_set_threads(int threads);
int blas_threads(void);

/* The same, and has OpenBLAS take its workspace now: where memory is refused it would wait for ever
 * within a product. 0, or -1 when there is not enough; call none of the others then. */
int blas_prepare(int threads);

/* y[r, o] = sum_i x[r, i] w[o, i]: x [rows, in] of stride ld_x, w [out, in] dense, y of stride
 * ld_y. */
void blas_linear(size_t rows, size_t out, size_t in, const float *x, size_t ld_x, const float *w,
                 float *y, size_t ld_y);
void blas_linear_f64(size_t rows, size_t out, size_t in, const double *x, size_t ld_x,
                     const double *w, double *y, size_t ld_y);

/* c[m, n] = alpha * op(a) op(b) + beta * c; trans_* is 0 or 1; ld_* are row strides as stored. */
void blas_gemm(int trans_a, int trans_b, size_t m, size_t n, size_t k, float alpha, const float *a,
               size_t ld_a, const float *b, size_t ld_b, float beta, float *c, size_t ld_c);
void blas_gemm_f64(int trans_a, int trans_b, size_t m, size_t n, size_t k, double alpha,
                   const double *a, size_t ld_a, const double *b, size_t ld_b, double beta,
                   double *c, size_t ld_c);

/* c[n, n] += a^T a for a [rows, n] of stride ld_a; only the lower triangle of c is read and
 * written. */
void blas_syrk_f64(size_t n, size_t rows, const double *a, size_t ld_a, double *c);

/* The lower factor L of a = L L^T, in the lower triangle of a [n, n]; the upper one is zeroed. 0 on
 * success, else LAPACK's info: above 0 where a is not positive definite. */
int blas_cholesky(size_t n, double *a);

/* With a lower triangular l, [n, n] where it stands right and [m, m] where left, and b [m, n] of
 * stride ld_b: b <- b L, b <- b L^-1, b <- L^-1 b; with trans L^T stands for L. */
void blas_multiply_lower(int trans, size_t m, size_t n, const double *l, double *b, size_t ld_b);
void blas_solve_lower(int trans, size_t m, size_t n, const double *l, double *b, size_t ld_b);
void blas_solve_lower_left(int trans, size_t m, size_t n, const double *l, double *b, size_t ld_b);

/* a [n, n] <- U V^T where a = U S V^T: the orthogonal matrix nearest to a. LAPACK's info. */
int blas_polar(size_t n, double *a);

/* Eigenvalues (descending) and eigenvectors of a symmetric matrix a [n, n]: on return row i of a is
 * the i-th eigenvector. 0 on success, else LAPACK's info (or -1010/-1011: no work memory). */
int blas_eigh(size_t n, double *a, double *values);

/* The same for a Hermitian matrix of n x n complex numbers (re, im); row i of a is then the i-th
 * eigenvector u_i with A u_i = values[i] u_i. */
int blas_eigh_complex(size_t n, double *a, double *values);

/* Singular values (descending) and right vectors of a [m, n] (destroyed): vt [min(m,n), n]. */
int blas_svd(size_t m, size_t n, double *a, double *values, double *vt);

/* Replaces a [m, n], m >= n, by the orthonormal factor Q of its QR decomposition. */
int blas_orthonormalise(size_t m, size_t n, double *a);

#endif
