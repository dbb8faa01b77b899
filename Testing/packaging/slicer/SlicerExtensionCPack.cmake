foreach(variable IN ITEMS EXTENSION_LICENSE_FILE EXTENSION_README_FILE)
  if(NOT EXISTS "${${variable}}")
    message(FATAL_ERROR "${variable} names no file: '${${variable}}'")
  endif()
endforeach()

foreach(
  variable IN ITEMS
  EXTENSION_NAME
  EXTENSION_HOMEPAGE
  EXTENSION_CATEGORY
  EXTENSION_CONTRIBUTORS
  EXTENSION_DESCRIPTION
  EXTENSION_ICONURL
  EXTENSION_SCREENSHOTURLS
  EXTENSION_DEPENDS
  EXTENSION_LICENSE_FILE
  EXTENSION_README_FILE
)
  # Slicer hands them on unquoted: a list would lose all but its first element.
  if("${${variable}}" MATCHES ";" OR "${${variable}}" STREQUAL "")
    message(FATAL_ERROR "${variable} must be one text without semicolons, but is '${${variable}}'")
  endif()
  slicer_record(${variable} "${${variable}}")
endforeach()
