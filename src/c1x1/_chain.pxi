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
            run(pixel, weight, bias, "WC" if is_last else "CW", 1, groups, None, dtype, None, extras, packed, layer)
        except (ValueError, TypeError) as error:
            error.add_note(f"in layer {index} of {len(parts)}")
            raise
        prepared.append(layer)
        pixel = layer.result
    return prepared


def run_chain(list parts, object x_, object out_, object residual_, object stride, object nodata, object threads_):
    """Convolves x with layer after layer; `parts` are those of Pointwise.parts."""
    cdef ndarray x = as_array(x_, "x"), out = None, target = None, residual = None
    cdef int ndim = cnp.PyArray_NDIM(x), channel_axis, batch_axis, axis, d = 0, typenum, i
    cdef int threads = parse_threads(threads_)
    cdef cnp.npy_intp shape[64]
    cdef Py_ssize_t steps[64]
    cdef c1x1_chain chain
    cdef c1x1_problem *whole = &chain.whole
    cdef Prepared layer, last
    cdef filters f
    memset(&chain, 0, sizeof(chain))
    layout = parts[0][2]
    read_layout(layout, ndim, &channel_axis, &batch_axis)
    parse_stride(stride, steps, ndim, channel_axis, batch_axis)
    if not read_filters(&f, parts[0][0], cnp.PyArray_DIM(x, channel_axis), parts[0][3], channel_axis == ndim - 1,
                        ndim, batch_axis >= 0):
        refuse_filters(x, parts[0][0], layout, channel_axis, batch_axis, parts[0][3])
    cdef list layers = prepare_layers(parts, x, channel_axis, channel_axis == ndim - 1)
    last = layers[len(layers) - 1]
    typenum = cnp.PyArray_TYPE(last.result)
    f.drops_channel_axis = cnp.PyArray_NDIM(last.result) == 1
    f.c_out = last.problem.groups * last.problem.c_out

    # all pixels, from the first layer's x to the last one's out
    layer = layers[0]
    whole.x, whole.x_dtype = <const char *>cnp.PyArray_DATA(x), layer.problem.x_dtype
    whole.x_channel = cnp.PyArray_STRIDE(x, channel_axis)
    whole.compute, whole.groups = last.problem.compute, 1
    whole.c_in, whole.c_out = <size_t>cnp.PyArray_DIM(x, channel_axis), f.c_out
    whole.w_in = whole.w_out = 8
    for axis in range(ndim):
        if axis == channel_axis:
            if not f.drops_channel_axis:
                shape[d] = <cnp.npy_intp>f.c_out
                d += 1
            continue
        shape[d] = cnp.PyArray_DIM(x, axis)
        whole.dim[whole.dims].x_stride = cnp.PyArray_STRIDE(x, axis)
        if steps[axis] > 1:
            shape[d] = (shape[d] + steps[axis] - 1) // steps[axis] if shape[d] else 0
            whole.dim[whole.dims].x_stride = whole.dim[whole.dims].x_stride * steps[axis] if shape[d] > 1 else 0
        whole.dim[whole.dims].size = <size_t>shape[d]
        whole.dims += 1
        d += 1
    if out_ is None:
        out = target = <ndarray>cnp.PyArray_EMPTY(d, shape, typenum, 0)
    else:
        out = target = check_out(out_, shape, d, typenum)
        if cnp.PyArray_ISBYTESWAPPED(out):
            target = np.empty((<object>out).shape, out.dtype.newbyteorder("="))
    extras = parts[len(parts) - 1][5]
    if residual_ is not None:
        residual = set_residual(whole, read_extras(
            None if extras is None else extras.scale, residual_, None, None, None), target, shape, d, channel_axis, &f)
        whole.epilogue.activation = last.problem.epilogue.activation
    if nodata is not None:
        found, fill = _epilogue.read_nodata(nodata, x.dtype, result_dtype_of(cnp.PyArray_TYPE(target)))
        whole.nodata.is_given = 1
        memcpy(whole.nodata.value, <const char *><bytes>found, len(found))
        memcpy(whole.nodata.fill, <const char *><bytes>fill, len(fill))
    if out_ is not None and target is out and (
            spans_meet(out, x) or any([spans_meet(out, part) for part in operands_of(parts)])
            or (residual is not None and residual_overlap(residual, out) == 2)):
        target = np.empty((<object>out).shape, out.dtype)
    if residual is not None and target is out and out_ is not None:
        whole.epilogue.residual_is_out = residual_overlap(residual, out)
    set_target(whole, target, channel_axis, &f)

    chain.is_planar = channel_axis != ndim - 1
    chain.count = len(layers)
    chain.layer = <c1x1_problem *>malloc(<size_t>chain.count * sizeof(c1x1_problem))
    if chain.layer == NULL:
        raise MemoryError("c1x1: no memory for the layers; nothing was written")
    try:
        for i in range(chain.count):
            layer = layers[i]
            chain.layer[i] = layer.problem
        chain.layer[chain.count - 1].out_dtype = whole.out_dtype
        if cnp.PyArray_SIZE(target) > 0:
            execute_chain(&chain, threads)
    finally:
        free(chain.layer)
    if target is not out:
        np.copyto(out, target, casting="same_kind")
    return out if out_ is None else out_


cdef list operands_of(list parts):
    """The arrays that layers read beside their pixels."""
    return [a for part in parts for a in part[:2] if isinstance(a, np.ndarray)]
