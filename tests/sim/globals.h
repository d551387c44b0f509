/* What machine code asks for by name, found again where it was found before. It asks the dictionary of
 * its module for each name that it uses, and an object for each of its fields by name: together a
 * seventh of a run. Dictionaries and types have a version, which is of one state of one of them and of
 * no other; whatever changes it is asked anew. Each place in the code remembers its own answer, beside
 * those of its neighbours: a run touches a tenth of them. A place that meets many types, and one that
 * asks a module or a class, looks in what all share; the methods of a type are found likewise. Names are held, so that no other stands at
 * their address. */
#ifndef SALUS_GLOBALS_H
#define SALUS_GLOBALS_H
#include <Python.h>
#include <structmember.h>
#include "CPy.h"
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* Python 3.12 on ma_version_tag */

/* Whatever leads there is an error: it is laid aside, and what is done again and again stands closer. */
#define SALUS_RARE __attribute__((cold))
extern SALUS_RARE void CPy_AddTraceback(const char *, const char *, int, PyObject *);
extern SALUS_RARE void CPy_TypeError(const char *, PyObject *);
extern SALUS_RARE void CPy_TypeErrorTraceback(const char *, const char *, int, PyObject *,
                                              const char *, PyObject *);
extern SALUS_RARE void CPyError_OutOfMemory(void);
extern SALUS_RARE void PyErr_SetString(PyObject *, const char *);

typedef struct {
    PyObject *dict, *name, *value; /* the dictionary holds the value while it is as it was */
    uint64_t version;
} SalusGlobal;

typedef struct {
    PyTypeObject *type;
    PyObject *name;
    unsigned int version;
    Py_ssize_t offset; /* of the field in the struct */
} SalusField;

typedef struct {
    PyObject *owner, *name, *value; /* a module or a class holds the value while it is as it was */
    PyTypeObject *type;             /* of the owner */
    uint64_t version;               /* of the owner */
    unsigned int type_version;
} SalusFixed;

typedef struct {
    PyTypeObject *type;
    PyObject *name, *method; /* the type holds the method while it is as it was */
    unsigned int version;
} SalusMethod;

/* Shared by all places: the fields of a place that meets many types, as one where any message goes by,
 * and what modules and classes hold, as the members of an enum. A run asks for some hundred of each. */
#define SALUS_SHARED 1024
__attribute__((weak)) SalusField salus_fields[SALUS_SHARED];
__attribute__((weak)) SalusFixed salus_fixed[SALUS_SHARED];

#define SALUS_HERE static inline __attribute__((always_inline))
#define SALUS_THERE static __attribute__((noinline))

SALUS_THERE PyObject *salus_find_item(PyObject *dict, PyObject *name, SalusGlobal *place) {
    PyObject *value = CPyDict_GetItem(dict, name);
    if (value != NULL && PyDict_CheckExact(dict) && PyUnicode_CheckExact(name) &&
        PyUnicode_CHECK_INTERNED(name)) {
        Py_INCREF(name);
        Py_XSETREF(place->name, name);
        place->dict = dict, place->value = value;
        place->version = ((PyDictObject *)dict)->ma_version_tag;
    }
    return value;
}

SALUS_HERE PyObject *salus_get_item(PyObject *dict, PyObject *name, SalusGlobal *place) {
    if (place->dict == dict && place->name == name &&
        place->version == ((PyDictObject *)dict)->ma_version_tag) {
        Py_INCREF(place->value);
        return place->value;
    }
    return salus_find_item(dict, name, place);
}

#define SALUS_VALID(type) PyType_HasFeature((type), Py_TPFLAGS_VALID_VERSION_TAG)
#define SALUS_NUMBER(pointer) ((uintptr_t)(pointer) >> 4)

/* The version of a module or a class as it is now, or 0 of what has none. */
SALUS_HERE uint64_t salus_version(PyObject *owner) {
    if (PyModule_CheckExact(owner))
        return ((PyDictObject *)PyModule_GetDict(owner))->ma_version_tag;
    if (PyType_Check(owner) && SALUS_VALID((PyTypeObject *)owner))
        return ((PyTypeObject *)owner)->tp_version_tag;
    return 0;
}

/* Does the owner itself hold this value, such that asking it gives just that? */
SALUS_THERE int salus_holds(PyObject *owner, PyObject *name, PyObject *value) {
    PyTypeObject *type = Py_TYPE(owner);
    if (_PyType_Lookup(type, name) != NULL || !SALUS_VALID(type))
        return 0;
    if (PyModule_CheckExact(owner))
        return PyDict_GetItemWithError(PyModule_GetDict(owner), name) == value;
    static PyObject *asked = NULL;
    if (asked == NULL && (asked = PyUnicode_InternFromString("__getattribute__")) == NULL)
        return 0;
    return _PyType_Lookup(type, asked) == _PyType_Lookup(&PyType_Type, asked) &&
           _PyType_Lookup((PyTypeObject *)owner, name) == value &&
           Py_TYPE(value)->tp_descr_get == NULL && SALUS_VALID((PyTypeObject *)owner);
}

SALUS_THERE PyObject *salus_find_fixed(PyObject *owner, PyObject *name) {
    PyTypeObject *type = Py_TYPE(owner);
    SalusFixed *place =
        &salus_fixed[(SALUS_NUMBER(owner) ^ SALUS_NUMBER(name)) % SALUS_SHARED];
    if (place->owner == owner && place->name == name && place->type == type &&
        place->version == salus_version(owner) && place->version != 0 &&
        place->type_version == type->tp_version_tag && SALUS_VALID(type)) {
        Py_INCREF(place->value);
        return place->value;
    }
    PyObject *value = PyObject_GetAttr(owner, name);
    if (value != NULL && PyUnicode_CheckExact(name) && PyUnicode_CHECK_INTERNED(name) &&
        salus_holds(owner, name, value)) {
        Py_INCREF(name);
        Py_XSETREF(place->name, name);
        place->owner = owner, place->value = value, place->type = type;
        place->version = salus_version(owner), place->type_version = type->tp_version_tag;
    }
    return value;
}

SALUS_THERE PyObject *salus_find_attr(PyObject *object, PyObject *name, SalusField *place) {
    PyTypeObject *type = Py_TYPE(object);
    SalusField *shared =
        &salus_fields[(type->tp_version_tag ^ SALUS_NUMBER(name)) % SALUS_SHARED];
    if (shared->type == type && shared->name == name && shared->version == type->tp_version_tag &&
        SALUS_VALID(type)) {
        PyObject *value = *(PyObject **)((char *)object + shared->offset);
        if (value != NULL) {
            Py_INCREF(name);
            Py_XSETREF(place->name, name);
            place->type = type, place->version = shared->version, place->offset = shared->offset;
            Py_INCREF(value);
            return value;
        }
    }
    if (PyModule_CheckExact(object) || PyType_Check(object))
        return salus_find_fixed(object, name);
    PyObject *value = PyObject_GetAttr(object, name);
    type = Py_TYPE(object);
    if (value == NULL || type->tp_getattro != PyObject_GenericGetAttr ||
        !PyUnicode_CheckExact(name) || !PyUnicode_CHECK_INTERNED(name) || !SALUS_VALID(type))
        return value;
    PyObject *field = _PyType_Lookup(type, name); /* borrowed */
    if (field != NULL && Py_IS_TYPE(field, &PyMemberDescr_Type) &&
        ((PyMemberDescrObject *)field)->d_member->type == T_OBJECT_EX) {
        SalusField *places[] = {
            place, &salus_fields[(type->tp_version_tag ^ SALUS_NUMBER(name)) % SALUS_SHARED]};
        for (int i = 0; i < 2; i++) {
            Py_INCREF(name);
            Py_XSETREF(places[i]->name, name);
            places[i]->type = type, places[i]->version = type->tp_version_tag;
            places[i]->offset = ((PyMemberDescrObject *)field)->d_member->offset;
        }
    }
    return value;
}

SALUS_HERE PyObject *salus_get_attr(PyObject *object, PyObject *name, SalusField *place) {
    PyTypeObject *type = Py_TYPE(object);
    if (place->type == type && place->name == name && place->version == type->tp_version_tag &&
        SALUS_VALID(type)) {
        PyObject *value = *(PyObject **)((char *)object + place->offset);
        if (value != NULL) {
            Py_INCREF(value);
            return value;
        }
    }
    return salus_find_attr(object, name, place);
}

SALUS_THERE PyObject *salus_find_method(PyObject *name, PyObject *const *arguments, size_t count,
                                        PyObject *names, SalusMethod *place) {
    PyTypeObject *type = Py_TYPE(arguments[0]);
    if (type->tp_getattro == PyObject_GenericGetAttr && type->tp_dictoffset == 0 &&
        PyUnicode_CheckExact(name) && PyUnicode_CHECK_INTERNED(name)) {
        PyObject *method = _PyType_Lookup(type, name); /* borrowed */
        if (method != NULL && SALUS_VALID(type) &&
            PyType_HasFeature(Py_TYPE(method), Py_TPFLAGS_METHOD_DESCRIPTOR)) {
            Py_INCREF(name);
            Py_XSETREF(place->name, name);
            place->type = type, place->method = method, place->version = type->tp_version_tag;
        }
    }
    return PyObject_VectorcallMethod(name, arguments, count, names);
}

SALUS_HERE PyObject *salus_call_method(PyObject *name, PyObject *const *arguments, size_t count,
                                       PyObject *names, SalusMethod *place) {
    PyTypeObject *type = Py_TYPE(arguments[0]);
    if (place->type == type && place->name == name && place->version == type->tp_version_tag &&
        SALUS_VALID(type)) {
        PyObject *method = place->method;
        Py_INCREF(method);
        PyObject *result = PyObject_Vectorcall(
            method, arguments, count & ~PY_VECTORCALL_ARGUMENTS_OFFSET, names);
        Py_DECREF(method);
        return result;
    }
    return salus_find_method(name, arguments, count, names, place);
}

#define CPyDict_GetItem(dict, name) \
    ({ static SalusGlobal salus_place; salus_get_item((dict), (name), &salus_place); })
#define PyObject_GetAttr(object, name) \
    ({ static SalusField salus_place; salus_get_attr((object), (name), &salus_place); })
#define PyObject_VectorcallMethod(name, arguments, count, names) \
    ({ static SalusMethod salus_place; \
       salus_call_method((name), (arguments), (count), (names), &salus_place); })
#endif
