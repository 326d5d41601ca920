return {
  body_max = "64G",
  form_part_max = "64G",
}
