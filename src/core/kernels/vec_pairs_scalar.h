/* vec_pairs_scalar.h - the words of tile_real.inc for pairs of int16, one pair to a vector, in plain C.
 *
 * An element of an operand is two int16, of a result one int32; both are handled as uint32_t, whose
 * sums wrap without undefined behaviour. Include after vec_scalar.h, whose other words serve as they
 * are. */
#undef real
#undef vec_fma
#define real uint32_t
#define vec_fma(a, b, c) ((c) + scalar_multiply_pairs(a, b))

TILE_INLINE uint32_t scalar_multiply_pairs(uint32_t a, uint32_t b) {
    const int32_t low = (int16_t)(uint16_t)a * (int16_t)(uint16_t)b;
    const int32_t high = (int16_t)(uint16_t)(a >> 16) * (int16_t)(uint16_t)(b >> 16);
    return (uint32_t)low + (uint32_t)high;
}
