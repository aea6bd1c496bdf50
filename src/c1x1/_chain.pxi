# Included by _api.pyx: the call of a chain, described to the core layer by layer.


cdef list prepare_layers(list parts, ndarray x, int channel_axis, bint is_last):
    """One Prepared per layer; each reads a pixel such as the one before it writes."""
    cdef Prepared layer
    cdef ndarray pixel
    cdef list prepared = []
    cdef Py_ssize_t channels = cnp.PyArray_DIM(x, channel_axis)
    shape = [1, channels] if is_last else [channels, 1]
    pixel = np.empty(shape, (<object>x).dtype)
    for index, (weight, bias, _, groups, dtype, extras, packed) in enumerate(parts):
        if cnp.PyArray_NDIM(pixel) != 2:
            raise ValueError(f"layer {index - 1} has weights of one axis, so that layer {index} gets no channels: "
                             "pass them as (C_in, 1) or (1, C_in)")
        layer = Prepared.__new__(Prepared)
        try:
            run(pixel, weight, bias, "WC" if is_last else "CW", 1, groups, None, dtype, None, extras, packed, layer, 0)
        except (ValueError, TypeError) as error:
            error.add_note(f"in layer {index} of {len(parts)}")
            raise
        prepared.append(layer)
        pixel = layer.result
    return prepared


# All pixels, from the first layer's x to the last one's result, whose place is not known yet.
cdef void set_whole(c1x1_problem *whole, geometry *g, ndarray x, Prepared first, Prepared last) noexcept:
    g.w.drops_channel_axis = cnp.PyArray_NDIM(last.result) == 1
    g.w.c_out = last.problem.groups * last.problem.c_out
    whole.x, whole.x_dtype = <const char *>cnp.PyArray_DATA(x), first.problem.x_dtype
    whole.x_channel = cnp.PyArray_STRIDE(x, g.channel_axis)
    whole.compute, whole.groups = last.problem.compute, 1
    whole.c_in, whole.c_out = <size_t>cnp.PyArray_DIM(x, g.channel_axis), g.w.c_out
    whole.w_in = whole.w_out = 8
    set_pixels(whole, g, x)


cdef int run_layers(c1x1_chain *chain, list layers, int threads) except -1:
    cdef Prepared layer
    cdef int i
    chain.count = <int>len(layers)
    chain.layer = <c1x1_problem *>malloc(<size_t>chain.count * sizeof(c1x1_problem))
    if chain.layer == NULL:
        raise MemoryError("c1x1: no memory for the layers; nothing was written")
    try:
        for i in range(chain.count):
            layer = layers[i]
            chain.layer[i] = layer.problem
        chain.layer[chain.count - 1].out_dtype = chain.whole.out_dtype
        execute_chain(chain, threads)
    finally:
        free(chain.layer)
    return 0


def run_chain(list parts, object x_, object out_, object residual_, object stride, object nodata, object threads_):
    """Convolves x with layer after layer; `parts` are those of Pointwise.parts."""
    cdef ndarray x = as_array(x_, "x"), out, target, residual = None
    cdef int threads = 0 if threads_ is None else parse_threads(threads_)
    cdef c1x1_chain chain
    cdef c1x1_problem *whole = &chain.whole
    cdef geometry g
    cdef Prepared last
    cdef Extras extras = parts[len(parts) - 1][5]
    memset(&chain, 0, sizeof(chain))
    layout = parts[0][2]
    read_layout(&g, layout, cnp.PyArray_NDIM(x))
    read_stride(&g, stride)
    fit_filters(&g, x, parts[0][0], layout, parts[0][3])
    chain.is_planar = g.channel_axis != g.ndim - 1
    cdef list layers = prepare_layers(parts, x, g.channel_axis, not chain.is_planar)
    last = layers[len(layers) - 1]
    set_whole(whole, &g, x, layers[0], last)
    if out_ is None:
        out = target = <ndarray>cnp.PyArray_EMPTY(g.out_ndim, g.shape, cnp.PyArray_TYPE(last.result), 0)
    else:
        out = check_out(out_, &g, cnp.PyArray_TYPE(last.result))
        target = as_target(out, cnp.PyArray_TYPE(last.result))
    if residual_ is not None:
        residual = set_residual(whole, read_extras(
            None if extras is None else extras.scale, residual_, None, None, None), &g)
        whole.epilogue.activation = last.problem.epilogue.activation
    if nodata is not None:
        set_nodata(whole, nodata, x, cnp.PyArray_TYPE(target))
    if out_ is not None and target is out and (
            spans_meet(out, x) or any([spans_meet(out, part) for part in operands_of(parts)])
            or (residual is not None and residual_overlap(residual, out) == 2)):
        target = np.empty((<object>out).shape, out.dtype)
    if residual is not None and target is out and out_ is not None:
        whole.epilogue.residual_is_out = residual_overlap(residual, out)
    set_target(whole, &g, target)
    if cnp.PyArray_SIZE(target) > 0:
        run_layers(&chain, layers, threads)
    if target is not out:
        np.copyto(out, target, casting="same_kind")
    return out if out_ is None else out_


cdef list operands_of(list parts):
    """The arrays that layers read beside their pixels."""
    return [a for part in parts for a in part[:2] if isinstance(a, np.ndarray)]
