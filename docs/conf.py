"""How Sphinx builds the site: `sphinx-build -W -n docs docs/_build`, without the network.

Tutorials come from ../examples, which sphinx-gallery runs; API pages from docstrings (numpydoc);
all other pages are Markdown (MyST). CHANGELOG and CONTRIBUTING are read where they lie.
"""

import c1x1

project = "c1x1"
author = "The c1x1 developers"
copyright = author  # noqa: A001
version = release = c1x1.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/GALLERY_HEADER.rst", "sg_execution_times.rst"]
nitpicky = True
smartquotes = False  # quotes of code stay what they are
# What docstrings point to in dask's documentation, which only the network has.
nitpick_ignore = [
    ("py:obj", "dask.array.Array.compute_chunk_sizes"),
    ("py:obj", "dask.array.rechunk"),
]

# ---- Markdown ------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# ---- API pages -----------------------------------------------------------------------------------

default_role = "literal"  # `x` in a docstring is a parameter
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the docstrings tell, in words
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# ---- tutorials -----------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "ignore_pattern": r"pixel_classifier\.py$",  # what an example imports
    "abort_on_example_error": True,
    "capture_repr": (),
    "download_all_examples": False,
    "min_reported_time": 3600,
    "remove_config_comments": True,
    "show_memory": False,
    "thumbnail_size": (440, 300),
    "show_signature": False,
    "within_subsection_order": "FileNameSortKey",
}

# ---- looks ---------------------------------------------------------------------------------------

html_title = "c1x1"
html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_static_path = ["_static"]
html_css_files = ["c1x1.css"]
html_show_sourcelink = False
html_copy_source = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
